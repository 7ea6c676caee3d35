"Two loops by turns, within the seconds that are given."
import types
from ganbook import timing
from ganbook.train import Stop


def test_bench_keeps_its_seconds_and_tells_how_far_it_is(monkeypatch, capsys):
    now = [0.]
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: now[0])
    def steps(each, seconds):
        "Seconds that a bench takes whose steps, of either loop, take `each`."
        now[0] = 0.
        def other(k): now[0] += k*each
        turns, step = timing.Turns(other, seconds, lambda: now[0]), 0
        try:
            while True:
                step, now[0] = step + 1, now[0] + each
                turns(types.SimpleNamespace(step=step))
        except Stop: return now[0], len(turns.ours)
    assert steps(5., 5.) == (10., 1)  # one step of each: less cannot be
    took, turns = steps(.5, 10.)
    assert took <= 12.5 and turns >= 5 and 'of 10 s' in capsys.readouterr().err
    took, turns = steps(.001, 10.)
    assert 10 <= took < 10.1 and turns > 100
    assert 'give more --seconds' in timing.time_table(timing.Times([.1], [.2], 8, 'title'))
