"""Write the tables of README.md and README.zh.md from results/.

usage: python bench/readme.py [--check]     --check changes nothing and exits 1 if a README is behind results/

A README holds blocks, each between the lines `<!-- NAME: written by bench/readme.py -->`
and `<!-- end of NAME -->`. `measured` is the table of what benches measured, beside
published figures where there are any; `claims` counts the ledger. No number of ours stands
in this file: each is read from the JSON of a bench. Published ones carry their source. """
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from ganbook.scale import interval

readmes = {'en': root/'README.md', 'zh': root/'README.zh.md'}


# Numbers in words

def bench(name: str) -> dict:
    return json.loads((root/'results'/f'bench_{name}.json').read_text(encoding='utf-8'))
def ledger() -> dict:
    return {
        f.stem: json.loads(f.read_text(encoding='utf-8'))
        for f in sorted((root/'results').glob('*.json'))
        if re.match(r'\d\d_|w\d\d_|a\d_', f.name)
    }
def num(x: float) -> str:
    "Three digits; two of a number below a thousandth."
    return f'{x:.{3 if abs(x) >= 1e-3 else 2}g}'.replace('0.', '.', 1) if abs(x) < 1 else f'{x:.3g}'
def mean(xs) -> str:
    "Mean with its 95 % interval over seeds."
    low, high = interval(xs)
    return f'{num(sum(xs)/len(xs))} [{num(low)}, {num(high)}]'
def column(rows: list, name: str) -> list: return [r[name] for r in rows]
def count(modes: list, of: int, lang: str) -> str:
    hits = sum(m == of for m in modes)
    return {
        'en': f'all {of:,} modes on {hits} of {len(modes)} seeds',
        'zh': f'{len(modes)} 个种子中 {hits} 个覆盖全部 {of:,} 个模式',
    }[lang]


# What was measured: a function of the language for each cell

def modes_row(name: str, of: int) -> dict:
    rows = bench('modes')[name]['rows']
    r, plain = rows['r3'], rows['plain, leaky G']
    tail = {
        'en': f"; plain GAN with leaky ReLUs: {num(min(plain['modes']))} to {num(max(plain['modes']))} modes",
        'zh': f"；普通 GAN（leaky ReLU）：{num(min(plain['modes']))} 到 {num(max(plain['modes']))} 个模式",
    }
    return {
        l: f"{count(r['modes'], of, l)}; HQ {mean(r['hq'])}; rKL {mean(r['rkl'])}{tail[l]}" for l in readmes
    }

def stacked_row() -> dict:
    s = bench('stacked')['cpu digits']
    r, plain, settings = (s['rows'][arm] for arm in ('r3', 'plain', 'settings'))
    kl, kl_plain, kl_settings = (column(rows, 'kl') for rows in (r, plain, settings))
    fewest, most = min(column(plain, 'modes')), max(column(plain, 'modes'))
    found = {l: count(column(settings, 'modes'), 1000, l) for l in readmes}
    tail = {
        'en': f"plain GAN {fewest} to {most} modes, KL {mean(kl_plain)}; with the rate, decays and average "
              f"of ours but no penalty {found['en']}, "
        f"KL {mean(kl_settings)}; real data {num(s['real']['kl'])}",
        'zh': f"普通 GAN {fewest} 到 {most} 个模式，KL {mean(kl_plain)}；采用我们的学习率、衰减与平均但无惩罚项时 {found['zh']}，"
        f"KL {mean(kl_settings)}；真实数据 {num(s['real']['kl'])}",
    }
    return {l: f"{count(column(r, 'modes'), 1000, l)}; KL {mean(kl)}; {tail[l]}" for l in readmes}

def minute_row() -> dict:
    rows = bench('stable')['cpu minute']['rows']
    d, c = column(rows, 'distance'), column(rows, 'confident')
    return {
        'en': f'{mean(d)}, worst of {len(d)} runs {num(max(d))}; confident {mean(c)}',
        'zh': f'{mean(d)}，{len(d)} 次运行中最差 {num(max(d))}；高置信度 {mean(c)}',
    }

def doctor_row() -> dict:
    d = bench('doctor')['cpu']
    return {
        'en': f"{d['found']} of {d['failures']} failures named first or second, {d['first']} first "
              f"({d['arms_done']} of {d['arms']} runs done); "
        f"{d['false_alarms']} false alarms in {d['looks']} looks at {len(d['recipes'])} recipes",
        'zh': f"{d['failures']} 次故障中 {d['found']} 次列在前两位，{d['first']} 次列第一（{d['arms']} 次训练中已完成 "
              f"{d['arms_done']} 次）；"
        f"对 {len(d['recipes'])} 个配方查看 {d['looks']} 次，误报 {d['false_alarms']} 次",
    }

def doctor_text() -> dict:
    d = bench('doctor')['cpu']
    kinds, seeds = len(d['by_fault']), len(d['seeds'])
    return {
        'en': f"The doctor: {kinds} faults in four doses, ring and digits, {seeds} seed{'s'*(seeds > 1)}; a "
              "failure is a run at least twice as far from the data as a sound one",
        'zh': f'医生：{kinds} 种毛病、各四种剂量，环与数字，{seeds} 个种子；与数据的距离至少为健康训练两倍者算故障',
    }

def lowdata_row() -> dict:
    rows = bench('lowdata')['cpu digits']['rows']
    a, b = rows['10 %, plain'], rows['10 %, plain, translation and cutout']
    cut = [1 - (y - 1)/(x - 1) for x, y in zip(a['distance'], b['distance'])]
    gap = [1 - y/x for x, y in zip(a['gap'], b['gap'])]
    return {
        'en': f"distance above its floor cut by {mean(cut)}; gap of D cut by {mean(gap)}",
        'zh': f"超出下限的距离减少 {mean(cut)}；D 的过拟合差距减少 {mean(gap)}",
    }

def tasks_row() -> dict:
    t = bench('tasks')['cpu digits']
    r, real = t['rows']['conditional BN'], sum(t['real_scores'])/len(t['real_scores'])
    score = [s/real for s in r['score']]
    return {
        'en': f"asked-for class {mean(r['agreement'])}; accuracy score over that of real data "
              f"{mean(score)}; InfoGAN {mean(t['rows']['InfoGAN']['code_information'])} nats",
        'zh': f"生成所要求的类别 {mean(r['agreement'])}；分类准确率得分与真实数据之比 {mean(score)}；InfoGAN "
              f"{mean(t['rows']['InfoGAN']['code_information'])} 纳特",
    }

def bilinear_row() -> dict:
    rows = bench('optim')['bilinear']['rows']
    worst = max(
        abs(found - exact)
        for name, points in rows.items()
        if name != 'lookahead'
        for _, found, exact in points
    )
    n = sum(len(p) for name, p in rows.items() if name != 'lookahead')
    return {
        'en': f'{n} rates of {len(rows) - 1} methods, largest error {worst:.0e}',
        'zh': f'{len(rows) - 1} 种方法的 {n} 个收敛率，最大误差 {worst:.0e}',
    }

def speed_row() -> dict:
    "Rung `our loop` over the textbook's, and how far a step is from what the device could do."
    b = bench('speed')
    board = b.get('cuda', b['cpu'])
    parts = {'en': [], 'zh': []}
    for name in board['order']:
        r = board['rows'][name]['rungs']['our loop']
        parts['en'].append(
            f"{name} {num(r['over_textbook']['median'])} times ({r['share']:.0%} of the roofline)"
        )
        parts['zh'].append(f"{name} {num(r['over_textbook']['median'])} 倍（屋顶线的 {r['share']:.0%}）")
    return {
        'en': f"{'; '.join(parts['en'])}; {board['device']}",
        'zh': f"{'；'.join(parts['zh'])}；{board['device']}",
    }

def members_row() -> dict:
    e = bench('ensemble')['cpu']
    gain = e['rows'][f"{e['judged']}"]['gain']
    digits = e['rows']['digits 8x8, DCGAN of width 8, batch 64, 8 members']['gain']
    return {
        'en': f"32 ring GANs {num(gain['median'])} times as fast a GAN (quartiles {num(gain['low'])} to "
              f"{num(gain['high'])}); 8 small DCGANs {num(digits['median'])} times",
        'zh': f"32 个环上的 GAN 每个快 {num(gain['median'])} 倍（四分位 {num(gain['low'])} 到 {num(gain['high'])}）；8 个小 "
              f"DCGAN {num(digits['median'])} 倍",
    }

def fid_row() -> dict:
    f = bench('fid')['10000x60000x2048']
    return {
        l: f"{num(f['ganbook']['cpu_seconds'])} s; torchmetrics {num(f['torchmetrics']['cpu_seconds'])} s; "
           f"{w} {f['relative_difference']:.0e}"
        for l, w in dict(en='they differ by', zh='相对差').items()
    }

pacgan = {
    'en': 'PacGAN (Lin et al. 2018, table 1; 10 trials, 400,000 steps of 100, 2,500 samples, a mode counts '
          'with one sample)',
    'zh': 'PacGAN（Lin 等 2018，表 1；10 次试验，40 万步、批量 100，2,500 个样本，一个样本即算覆盖）',
}

def published(ours: str) -> dict: return {l: f'{ours}: {pacgan[l]}' for l in readmes}

def measured() -> list:
    "(chapter, what, ours, published), each but the first a text in both languages."
    none = dict(en='none known to us', zh='未见公开数据')
    return [
        (
            '13',
            dict(
                en='Ring of 8 Gaussians, std .01: 6,500 steps of 256; 10,000 samples, within 3 std, 20 '
                   'samples a mode',
                zh='8 个高斯组成的环，标准差 .01：6,500 步、批量 256；10,000 个样本，3 个标准差之内，每个模式至少 20 个样本',
            ),
            modes_row('ring', 8),
            published('GAN 6.3 modes, HQ .982, rKL .45; PacGAN4 7.8, .959, .07'),
        ),
        (
            '13', dict(en='Grid of 25 Gaussians, std .05: the same', zh='25 个高斯组成的网格，标准差 .05：同上'),
            modes_row('grid', 25), published('GAN 17.3 modes, HQ .948, rKL .70; PacGAN4 24.8, .936, .04'),
        ),
        (
            '16',
            dict(
                en='Stacked digits: 1,000 modes from three 8x8 digits, 7,000 steps of 64; 26,000 samples',
                zh='堆叠数字：三个 8x8 数字组成 1,000 个模式，7,000 步、批量 64；26,000 个样本',
            ),
            stacked_row(),
            dict(
                en='other data, hence no comparison: Stacked MNIST, R3GAN loss 1,000 modes, KL .078 (Huang '
                   'et al. 2024, table 3)',
                zh='数据不同，不可直接比较：Stacked MNIST，R3GAN 损失 1,000 个模式，KL .078（Huang 等 2024，表 3）',
            ),
        ),
        (
            '15',
            dict(
                en='8x8 digits, recipe `stable` for one minute: Fréchet distance, where half of the data '
                   'against the other half is 1',
                zh='8x8 数字，配方 `stable` 训练一分钟：Fréchet 距离，真实数据两半之间为 1',
            ),
            minute_row(),
            none,
        ),
        ('8', doctor_text(), doctor_row(), none),
        (
            '19',
            dict(
                en='90 digits to train on, shifts and cutouts against none, 5 seeds',
                zh='仅用 90 个数字训练，平移与遮挡增强对比无增强，5 个种子',
            ),
            lowdata_row(),
            none,
        ),
        (
            '20',
            dict(
                en='Classes asked for, digits kept from both networks, 5 seeds',
                zh='按类别生成，测试数字两个网络都未见过，5 个种子',
            ),
            tasks_row(),
            none,
        ),
        (
            '17',
            dict(
                en='Rates on the bilinear game, measured on the library\'s own steps against the formulas',
                zh='双线性博弈上的收敛率：库自身的更新步与公式对比',
            ),
            bilinear_row(),
            none,
        ),
        (
            '22',
            dict(
                en="Images a second of our loop over the textbook's, one thread on a CPU; on a GPU recorded "
                   "steps are to add to it",
                zh='我们的循环与教科书循环每秒图像数之比，CPU 单线程；在 GPU 上还将加上录制的训练步',
            ),
            speed_row(),
            none,
        ),
        (
            '10',
            dict(
                en='GANs side by side, against one after the other, one thread', zh='并排训练许多 GAN，对比逐个训练，单线程',
            ),
            members_row(),
            none,
        ),
        (
            '7',
            dict(
                en='Fréchet distance of 10,000 against 60,000 x 2,048 features, one thread',
                zh='10,000 对 60,000 个 2,048 维特征的 Fréchet 距离，单线程',
            ),
            fid_row(),
            dict(en='torchmetrics, measured here', zh='torchmetrics，同机测得'),
        ),
    ]

heads = {
    'measured': dict(
        en='| ch. | what, and protocol | ganbook: mean [95 % interval over seeds] | published |',
        zh='| 章 | 内容与协议 | ganbook：均值 [种子间 95 % 区间] | 已发表 |',
    )
}

def measured_block(lang: str) -> str:
    return '\n'.join(
        [
            heads['measured'][lang],
            '|---|---|---|---|',
            *(
                f'| {ch} | {what[lang]} | {ours[lang]} | {theirs[lang]} |'
                for ch, what, ours, theirs in measured()
            ),
        ]
    )


# The ledger in two lines

def claims_block(lang: str) -> str:
    claims = [c for cs in ledger().values() for c in cs]
    stored = [c for c in claims if c.get('stored')]
    fresh = [c for c in claims if not c.get('stored')]
    over_seeds = sum(c['members'] > 1 for c in claims)
    mean_only = sum(bool(c.get('mean_only')) for c in claims)
    sourced = sum(bool(c['source']) for c in claims)
    where = ', '.join(sorted({f"{c['scale']}, {c['device']}" for c in fresh}))
    n_benches = len({c['stored']['bench'] for c in stored})
    dates = sorted({day for c in stored for day in c['stored']['date'].split(' to ')})
    days = f'{dates[0]} to {dates[-1]}' if dates else ''
    tage = f'{dates[0]} 至 {dates[-1]}' if dates else ''
    return {
        'en': f'{len(claims)} claims in {len(ledger())} chapters. {len(fresh)} are measured each time a '
              f'chapter runs ({where}); {len(stored)} compare figures that {n_benches} longer '
        f'benches have stored ({days}). {over_seeds} are over seeds: '
        f'{over_seeds - mean_only} hold at the worse end of their interval, {mean_only} '
        f'say "mean only". {sourced} stand against a published or derived value.',
        'zh': f'{len(ledger())} 章中共 {len(claims)} 条论断：{len(fresh)} 条在每次运行章节时重新测量（{where}），{len(stored)} 条对照 '
              f'{n_benches} 个较长基准测试存下的结果（{tage}）。'
        f'{over_seeds} 条基于多个种子：{over_seeds - mean_only} '
        f'条在区间较差的一端也成立，{mean_only} 条仅对均值成立（标明 mean only）。{sourced} 条对照已发表或推导出的值。',
    }[lang]


# Putting it in

blocks = dict(measured=measured_block, claims=claims_block)

def filled(text: str, lang: str, name: str) -> str:
    "The README with its blocks written anew."
    for block, write in blocks.items():
        begin, end = f'<!-- {block}: written by bench/readme.py -->', f'<!-- end of {block} -->'
        if begin not in text or end not in text:
            raise SystemExit(f'{name} has lost the lines {begin!r} and {end!r} that hold a table.')
        text = text[:text.index(begin) + len(begin)] + '\n' + write(lang) + '\n' + text[text.index(end):]
    return text

def main(check: bool) -> int:
    behind = False
    for lang, path in readmes.items():
        old = path.read_text(encoding='utf-8')
        new = filled(old, lang, path.name)
        behind |= new != old
        if not check: path.write_text(new, encoding='utf-8')
    return int(check and behind)


if __name__ == '__main__': sys.exit(main('--check' in sys.argv[1:]))
