"What watches a run while it trains in its folder."
import types
from ganbook import launch


def test_checkpoints_also_come_by_the_clock(monkeypatch):
    now = [0.]
    saved = []
    looks = []
    monkeypatch.setattr(launch.time, 'monotonic', lambda: now[0])
    keeper = types.SimpleNamespace(saved=None, save=lambda s: saved.append(s.step))
    f = launch.Minutes(keeper, [types.SimpleNamespace(look=lambda s: looks.append(s.step))])
    for step in range(1, 21):
        now[0] += 100.
        if step == 8: keeper.saved = 8  # one by the number of steps: the clock begins anew
        f(types.SimpleNamespace(step=step))
    assert saved == looks == [4, 7, 11, 14, 17, 20]


def test_the_whole_time_is_told_after_the_first_steps(monkeypatch, capsys):
    now = [0.]
    monkeypatch.setattr(launch.time, 'monotonic', lambda: now[0])
    f = launch.Forecast()
    for step in range(1, 20):
        f(types.SimpleNamespace(step=step, n_steps=3601))
        now[0] += 2.
    err = capsys.readouterr().err
    assert err == 'about 2 h for 3,600 steps\n'
    assert [launch.duration(t) for t in (0, 40, 60, 130, 5400, 180_000)] == [
        '0 s', '40 s', '1 min', '2 min 10 s', '1 h 30 min', '2 d 2 h',
    ]
