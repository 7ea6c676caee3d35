"""Write the tables of README.md, README.zh.md and docs/teaching.md from results/ and nbs/.

usage: python tools/readme.py [--check]     --check changes nothing and exits 1 if a file is behind

A file holds blocks, each between the lines `<!-- NAME: written by tools/readme.py -->`
and `<!-- end of NAME -->`. `measured` is the table of what trials measured, beside published
figures where there are any; `claims` counts the ledger; `services` opens each chapter in a
notebook service. A row is a key and a function that reads its numbers, whatever the language,
from the JSON of a trial; no number of ours stands in this file. The words are in one table for
each language, by the same keys. Published numbers carry their source. """
import json
import re
import sys
from functools import partial
from pathlib import Path
import cloud
import teaching
from index import reading_order
from ganbook.scale import interval
from ganbook.shelf import number_of

root = Path(__file__).resolve().parent.parent


# The words: key -> (what and protocol, ours, published); in braces, what the numbers fill in

pacgan_en = (
    'PacGAN (Lin et al. 2018, table 1; 10 trials, 400,000 steps of 100, 2,500 samples, a mode counts with '
    'one sample)'
)
points_en = (
    'all {of} modes on {hits} of {seeds} seeds; HQ {hq}; rKL {rkl}; plain GAN with leaky ReLUs: {fewest} to '
    '{most} modes'
)
unknown_en = 'none known to us'
english = dict(
    head='| ch. | what, and protocol | ganbook: mean [95 % interval over seeds] | published |',
    ring=(
        'Ring of 8 Gaussians, std .01: 6,500 steps of 256; 10,000 samples, within 3 std, 20 samples a mode',
        points_en, f'GAN 6.3 modes, HQ .982, rKL .45; PacGAN4 7.8, .959, .07: {pacgan_en}',
    ),
    grid=(
        'Grid of 25 Gaussians, std .05: the same', points_en,
        f'GAN 17.3 modes, HQ .948, rKL .70; PacGAN4 24.8, .936, .04: {pacgan_en}',
    ),
    stacked=(
        'Stacked digits: 1,000 modes from three 8x8 digits, 7,000 steps of 64; 26,000 samples',
        'all 1,000 modes on {hits} of {seeds} seeds; KL {kl}; plain GAN {fewest} to {most} modes, KL '
        '{kl_plain}; with the rate, decays and average of ours but no penalty all 1,000 modes on '
        '{hits_settings} of {seeds_settings} seeds, KL {kl_settings}; real data {kl_real}',
        'other data, hence no comparison: Stacked MNIST, R3GAN loss 1,000 modes, KL .078 (Huang et al. 2024, '
        'table 3)',
    ),
    minute=(
        '8x8 digits, recipe `stable` for one minute: Fréchet distance, where half of the data against the '
        'other half is 1',
        '{distance}, worst of {runs} runs {worst}; confident {confident}', unknown_en,
    ),
    doctor=(
        'The doctor: {kinds} faults in four doses, ring and digits, {seeds} seed{s}; a failure is a run at '
        'least twice as far from the data as a sound one',
        '{found} of {failures} failures named first or second, {first} first ({arms_done} of {arms} runs '
        'done); {false_alarms} false alarms in {looks} looks at {n_recipes} recipes', unknown_en,
    ),
    lowdata=(
        '90 digits to train on, shifts and cutouts against none, 5 seeds',
        'distance above its floor cut by {cut}; gap of D cut by {gap}', unknown_en,
    ),
    tasks=(
        'Classes asked for, digits kept from both networks, 5 seeds',
        'asked-for class {agreement}; accuracy score over that of real data {score}; InfoGAN {info} nats',
        unknown_en,
    ),
    bilinear=(
        "Rates on the bilinear game, measured on the library's own steps against the formulas",
        '{n} rates of {methods} methods, largest error {worst}', unknown_en,
    ),
    speed=(
        "Images a second of our loop over the textbook's, one thread on a CPU; on a GPU recorded steps are "
        'to add to it', ('{name} {gain} times ({share} of the roofline)', '; '), unknown_en,
    ),
    members=(
        'GANs side by side, against one after the other, one thread',
        '32 ring GANs {gain} times as fast a GAN (quartiles {low} to {high}); 8 small DCGANs {digits} times',
        unknown_en,
    ),
    fid=(
        'Fréchet distance of 10,000 against 60,000 x 2,048 features, one thread',
        '{ours} s; torchmetrics {theirs} s; they differ by {difference}', 'torchmetrics, measured here',
    ),
    claims=(
        '{claims} claims in {chapters} chapters. {fresh} are measured each time a chapter runs ({where}); '
        '{stored} compare figures that {benches} longer benches have stored ({since} to {until}). '
        '{over_seeds} are over seeds: {whole} hold at the worse end of their interval, {mean_only} say '
        '"mean only". {sourced} stand against a published or derived value.'
    ),
    services='Run in {service}:\n{links}',
)

pacgan_zh = (
    'PacGAN（Lin 等 2018，表 1；10 次试验，40 万步、批量 100，2,500 个样本，'
    '一个样本即算覆盖）'
)
points_zh = (
    '{seeds} 个种子中 {hits} 个覆盖全部 {of} 个模式; HQ {hq}; rKL {rkl}；'
    '普通 GAN（leaky ReLU）：{fewest} 到 {most} 个模式'
)
unknown_zh = '未见公开数据'
chinese = dict(
    head='| 章 | 内容与协议 | ganbook：均值 [种子间 95 % 区间] | 已发表 |',
    ring=(
        '8 个高斯组成的环，标准差 .01：6,500 步、批量 256；10,000 个样本，3 个标准差之内，'
        '每个模式至少 20 个样本',
        points_zh, f'GAN 6.3 modes, HQ .982, rKL .45; PacGAN4 7.8, .959, .07: {pacgan_zh}',
    ),
    grid=(
        '25 个高斯组成的网格，标准差 .05：同上', points_zh,
        f'GAN 17.3 modes, HQ .948, rKL .70; PacGAN4 24.8, .936, .04: {pacgan_zh}',
    ),
    stacked=(
        '堆叠数字：三个 8x8 数字组成 1,000 个模式，7,000 步、批量 64；26,000 个样本',
        '{seeds} 个种子中 {hits} 个覆盖全部 1,000 个模式; KL {kl}; 普通 GAN {fewest} 到 {most} 个模式，'
        'KL {kl_plain}；采用我们的学习率、衰减与平均但无惩罚项时 '
        '{seeds_settings} 个种子中 {hits_settings} 个覆盖全部 1,000 个模式，KL {kl_settings}；'
        '真实数据 {kl_real}',
        '数据不同，不可直接比较：Stacked MNIST，R3GAN 损失 1,000 个模式，KL .078'
        '（Huang 等 2024，表 3）',
    ),
    minute=(
        '8x8 数字，配方 `stable` 训练一分钟：Fréchet 距离，真实数据两半之间为 1',
        '{distance}，{runs} 次运行中最差 {worst}；高置信度 {confident}', unknown_zh,
    ),
    doctor=(
        '医生：{kinds} 种毛病、各四种剂量，环与数字，{seeds} 个种子；'
        '与数据的距离至少为健康训练两倍者算故障',
        '{failures} 次故障中 {found} 次列在前两位，{first} 次列第一'
        '（{arms} 次训练中已完成 {arms_done} 次）；'
        '对 {n_recipes} 个配方查看 {looks} 次，误报 {false_alarms} 次', unknown_zh,
    ),
    lowdata=(
        '仅用 90 个数字训练，平移与遮挡增强对比无增强，5 个种子',
        '超出下限的距离减少 {cut}；D 的过拟合差距减少 {gap}', unknown_zh,
    ),
    tasks=(
        '按类别生成，测试数字两个网络都未见过，5 个种子',
        '生成所要求的类别 {agreement}；分类准确率得分与真实数据之比 {score}；InfoGAN {info} 纳特',
        unknown_zh,
    ),
    bilinear=(
        '双线性博弈上的收敛率：库自身的更新步与公式对比',
        '{methods} 种方法的 {n} 个收敛率，最大误差 {worst}', unknown_zh,
    ),
    speed=(
        '我们的循环与教科书循环每秒图像数之比，CPU 单线程；在 GPU 上还将加上录制的训练步',
        ('{name} {gain} 倍（屋顶线的 {share}）', '；'), unknown_zh,
    ),
    members=(
        '并排训练许多 GAN，对比逐个训练，单线程',
        '32 个环上的 GAN 每个快 {gain} 倍（四分位 {low} 到 {high}）；8 个小 DCGAN {digits} 倍', unknown_zh,
    ),
    fid=(
        '10,000 对 60,000 个 2,048 维特征的 Fréchet 距离，单线程',
        '{ours} s; torchmetrics {theirs} s; 相对差 {difference}', 'torchmetrics，同机测得',
    ),
    claims=(
        '{chapters} 章中共 {claims} 条论断：{fresh} 条在每次运行章节时重新测量（{where}），'
        '{stored} 条对照 {benches} 个较长基准测试存下的结果（{since} 至 {until}）。'
        '{over_seeds} 条基于多个种子：{whole} 条在区间较差的一端也成立，'
        '{mean_only} 条仅对均值成立（标明 mean only）。{sourced} 条对照已发表或推导出的值。'
    ),
    services='在 {service} 中运行：\n{links}',
)
readmes = {root/'README.md': english, root/'README.zh.md': chinese}


# The numbers, as they are printed

def bench(name: str) -> dict:
    return json.loads((root/'results'/f'bench_{name}.json').read_text(encoding='utf-8'))

def num(x: float) -> str:
    "Three digits; two of a number below a thousandth."
    return f'{x:.{3 if abs(x) >= 1e-3 else 2}g}'.replace('0.', '.', 1) if abs(x) < 1 else f'{x:.3g}'

def mean(xs) -> str:
    "Mean with its 95 % interval over seeds."
    low, high = interval(xs)
    return f'{num(sum(xs)/len(xs))} [{num(low)}, {num(high)}]'

def points(name: str, of: int) -> dict:
    rows = bench('modes')[name]['rows']
    r, plain = rows['r3'], rows['plain, leaky G']['modes']
    return dict(
        of=of, hits=sum(m == of for m in r['modes']), seeds=len(r['modes']), hq=mean(r['hq']),
        rkl=mean(r['rkl']), fewest=num(min(plain)), most=num(max(plain)),
    )

def ring() -> dict: return points('ring', 8)
def grid() -> dict: return points('grid', 25)

def stacked() -> dict:
    s = bench('stacked')['cpu digits']
    def column(arm, name): return [r[name] for r in s['rows'][arm]]
    ours, plain, settings = (column(arm, 'modes') for arm in ('r3', 'plain', 'settings'))
    return dict(
        hits=ours.count(1000), seeds=len(ours), kl=mean(column('r3', 'kl')), fewest=min(plain),
        most=max(plain), kl_plain=mean(column('plain', 'kl')), hits_settings=settings.count(1000),
        seeds_settings=len(settings), kl_settings=mean(column('settings', 'kl')),
        kl_real=num(s['real']['kl']),
    )

def minute() -> dict:
    rows = bench('stable')['cpu minute']['rows']
    distance, confident = ([r[k] for r in rows] for k in ('distance', 'confident'))
    return dict(
        distance=mean(distance), runs=len(rows), worst=num(max(distance)), confident=mean(confident)
    )

def doctor() -> dict:
    d = bench('doctor')['cpu']
    seeds = len(d['seeds'])
    return d | dict(kinds=len(d['by_fault']), seeds=seeds, s='s'*(seeds > 1), n_recipes=len(d['recipes']))

def lowdata() -> dict:
    rows = bench('lowdata')['cpu digits']['rows']
    a, b = rows['10 %, plain'], rows['10 %, plain, translation and cutout']
    cut = [1 - (y - 1)/(x - 1) for x, y in zip(a['distance'], b['distance'])]
    return dict(cut=mean(cut), gap=mean([1 - y/x for x, y in zip(a['gap'], b['gap'])]))

def tasks() -> dict:
    t = bench('tasks')['cpu digits']
    r, real = t['rows']['conditional BN'], sum(t['real_scores'])/len(t['real_scores'])
    info = t['rows']['InfoGAN']['code_information']
    return dict(agreement=mean(r['agreement']), score=mean([s/real for s in r['score']]), info=mean(info))

def bilinear() -> dict:
    rows = {name: p for name, p in bench('optim')['bilinear']['rows'].items() if name != 'lookahead'}
    errors = [abs(found - exact) for points in rows.values() for _, found, exact in points]
    return dict(n=len(errors), methods=len(rows), worst=f'{max(errors):.0e}')

def speed() -> list:
    "Rung `our loop` over the textbook's, and how far a step is from what the device could do, by case."
    b = bench('speed')
    board = b.get('cuda', b['cpu'])
    rungs = {name: board['rows'][name]['rungs']['our loop'] for name in board['order']}
    return [
        dict(name=name, gain=num(r['over_textbook']['median']), share=f"{r['share']:.0%}")
        for name, r in rungs.items()
    ] + [board['device']]

def members() -> dict:
    e = bench('ensemble')['cpu']
    gain, digits = (
        e['rows'][name]['gain'] for name in (e['judged'], 'digits 8x8, DCGAN of width 8, batch 64, 8 members')
    )
    return dict(
        gain=num(gain['median']), low=num(gain['low']), high=num(gain['high']), digits=num(digits['median'])
    )

def fid() -> dict:
    f = bench('fid')['10000x60000x2048']
    ours, theirs = (num(f[name]['cpu_seconds']) for name in ('ganbook', 'torchmetrics'))
    return dict(ours=ours, theirs=theirs, difference=f"{f['relative_difference']:.0e}")

def claims() -> dict:
    "The ledger in numbers."
    files = [f for f in (root/'results').glob('*.json') if re.match(r'\d\d_|w\d\d_|a\d_', f.name)]
    claims = [c for f in files for c in json.loads(f.read_text(encoding='utf-8'))]
    stored = [c['stored'] for c in claims if c.get('stored')]
    fresh = [c for c in claims if not c.get('stored')]
    over_seeds = sum(c['members'] > 1 for c in claims)
    mean_only = sum(bool(c.get('mean_only')) for c in claims)
    days = sorted({day for s in stored for day in s['date'].split(' to ')}) or ['']
    return dict(
        claims=len(claims), chapters=len(files), fresh=len(fresh), stored=len(stored), since=days[0],
        until=days[-1], where=', '.join(sorted({f"{c['scale']}, {c['device']}" for c in fresh})),
        benches=len({s['bench'] for s in stored}), over_seeds=over_seeds, whole=over_seeds - mean_only,
        mean_only=mean_only, sourced=sum(bool(c['source']) for c in claims),
    )


# Putting it in

rows = [  # (chapter, function of the numbers; its name is the key of the words)
    ('13', ring), ('13', grid), ('16', stacked), ('15', minute), ('8', doctor), ('19', lowdata),
    ('20', tasks), ('17', bilinear), ('w2', speed), ('10', members), ('7', fid),
]

def filled_in(text, numbers) -> str:
    "A text with its numbers; of a list of numbers, each in the text and all of them joined."
    if isinstance(numbers, dict): return text.format(**numbers)
    if isinstance(text, str): return text
    pattern, between = text
    return between.join(n if isinstance(n, str) else pattern.format(**n) for n in numbers)

def measured_block(words: dict) -> str:
    lines = [words['head'], '|---|---|---|---|']
    for chapter, f in rows:
        numbers = f()
        cells = (filled_in(text, numbers) for text in words[f.__name__])
        lines.append(f"| {' | '.join([chapter, *cells])} |")
    return '\n'.join(lines)

def claims_block(words: dict) -> str: return filled_in(words['claims'], claims())

def services_block(words: dict) -> str:
    "A line for each notebook service, with the number of each chapter as a link."
    shown_at = cloud.blob(cloud.settings())
    links = {name: [] for name in cloud.services}
    for path in sorted((root/'nbs').glob('*.ipynb'), key=reading_order):
        for name, to in cloud.buttons(shown_at, f'nbs/{path.name}').items():
            links[name].append(f'[{number_of(path.stem)}]({to})')
    lines = [words['services'].format(service=name, links='\n'.join(to)) for name, to in links.items() if to]
    return '\n\n'.join(lines)

blocks = dict(measured=measured_block, claims=claims_block, services=services_block)

def filled(text: str, texts: dict, name: str) -> str:
    "A file with its blocks written anew: name of a block -> function that gives its text."
    for block, write in texts.items():
        begin, end = f'<!-- {block}: written by tools/readme.py -->', f'<!-- end of {block} -->'
        if begin not in text or end not in text:
            raise SystemExit(f'{name} has lost the lines {begin!r} and {end!r} that hold a table.')
        text = text[:text.index(begin) + len(begin)] + '\n' + write() + '\n' + text[text.index(end):]
    return text

def files() -> dict:
    "Path -> its blocks."
    own = {path: {name: partial(f, words) for name, f in blocks.items()} for path, words in readmes.items()}
    return own | {root/'docs'/'teaching.md': teaching.blocks}

def main(check: bool) -> int:
    behind = False
    for path, texts in files().items():
        old = path.read_text(encoding='utf-8')
        new = filled(old, texts, path.name)
        behind |= new != old
        if not check: path.write_text(new, encoding='utf-8')
    return int(check and behind)


if __name__ == '__main__': sys.exit(main('--check' in sys.argv[1:]))
