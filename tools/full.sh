#!/usr/bin/env bash
# Everything that wants a GPU, in one go: the GPU tests, the benchmarks, and every chapter rendered at full scale.
#
# usage: tools/full.sh SECONDS [OUT.tar [NAME ...]]
#
#   SECONDS   stop by then; what is left is done by calling again (what is done is remembered in runs/full/done)
#   OUT.tar   where results/, the executed notebooks and the logs go (default runs/full.tar; .tar.gz is compressed)
#   NAME ...  only these parts: tests, a benchmark (loop ensemble dcgan rules modes stable stacked optim resnet lowdata tasks speed), or chapters such as 05_training (default: all)
#
# environment: GANBOOK_SCALE (default full), GANBOOK_PART_S (limit of one part in seconds, default 900), GANBOOK_DATA.
# To begin anew, remove runs/full. Uses the `python` that is active; needs no network.
# Exit code: 0 all is done, 1 a part failed, 2 none failed but time ran out.
set -u

[[ ${1:-} =~ ^[0-9]+$ ]] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 64; }
start=$SECONDS
limit=$1
cd "$(dirname "$0")/.." || exit 64
tar=${2:-runs/full.tar}
shift "$(($# < 2 ? $# : 2))"
here=runs/full
mkdir -p "$here/done" "$here/failed" "$here/logs" "$here/out/results" "$here/out/nbs/solutions" "$here/bin" "$(dirname "$tar")"

export GANBOOK_SCALE=${GANBOOK_SCALE:-full} MPLBACKEND=agg PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) < 4 ? 1 : 4))}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
part_s=${GANBOOK_PART_S:-900}
py=$(command -v python || command -v python3) || { echo "no python is active" >&2; exit 64; }
if ! command -v nbdev_clean >/dev/null; then # installed without its scripts
    printf '#!/bin/sh\nexec %s -c "from nbdev.clean import nbdev_clean; nbdev_clean()" "$@"\n' "$py" >"$here/bin/nbdev_clean"
    chmod +x "$here/bin/nbdev_clean"
    export PATH=$PWD/$here/bin:$PATH
fi

left() { echo $((limit - (SECONDS - start) - 5)); } # five seconds are for packing

child=
stopped=
# shellcheck disable=SC2329  # called by the trap
stop() {
    stopped=yes
    [[ -n $child ]] && kill -TERM "$child" 2>/dev/null
}
trap stop INT TERM

failed=()
rest=()

# part NAME COMMAND ...: run a part under its limit, keep its log, remember how it went
part() {
    local name=$1 mine begun=$SECONDS rc=0
    shift
    [[ -e $here/done/$name ]] && return
    mine=$(left)
    if [[ -n $stopped ]] || ((mine < 10)); then
        rest+=("$name")
        return
    fi
    ((mine > part_s)) && mine=$part_s
    timeout --kill-after=10 "$mine" "$@" >"$here/logs/$name.log" 2>&1 &
    child=$!
    wait "$child" || rc=$?
    if [[ -n $stopped ]]; then wait "$child"; fi
    child=
    if ((rc == 0)); then
        rm -f "$here/failed/$name"
        keep "$name"
        date -u +%FT%TZ >"$here/done/$name"
        printf '%6d s  done     %s\n' $((SECONDS - begun)) "$name"
    elif [[ -n $stopped ]] || { ((rc == 124 || rc == 137)) && ((mine < part_s)); }; then
        rest+=("$name")
        printf '%6d s  cut off  %s\n' $((SECONDS - begun)) "$name"
    else
        failed+=("$name")
        echo "$rc" >"$here/failed/$name"
        keep "$name"
        printf '%6d s  FAILED   %s (exit code %d; the end of its log follows)\n' $((SECONDS - begun)) "$name" "$rc"
        tail -n 12 "$here/logs/$name.log" | sed 's/^/          | /'
    fi
}

# keep NAME: put aside what a part made, so that a later copy of the tree over this one loses nothing; a chapter that
# failed has made nothing, a benchmark that missed a target has its figures all the same
keep() {
    local file
    for file in "results/$1.json" "nbs/$1.ipynb" "nbs/solutions/$1.ipynb"; do
        if [[ -e $file && ! -e $here/failed/$1 ]]; then cp "$file" "$here/out/$file"; fi
    done
    if [[ -e results/bench_$1.json ]]; then cp "results/bench_$1.json" "$here/out/results/"; fi
}

run() {
    case $1 in
        tests) part tests "$py" -m pytest -m gpu tests -p no:cacheprovider ;;
        loop | ensemble | dcgan | rules | modes | stable | stacked | optim | resnet | lowdata | tasks | speed) part "$1" "$py" -m "trials.$1" --check ;;
        *) part "$1" "$py" tools/render.py "$1" ;;
    esac
}

names=("$@")
if ((${#names[@]} == 0)); then
    names=(tests loop ensemble dcgan rules modes stable stacked optim resnet lowdata tasks speed)
    for nb in nbs/*.ipynb; do names+=("$(basename "$nb" .ipynb)"); done
fi
for name in "${names[@]}"; do [[ -e $here/failed/$name ]] || run "$name"; done
for name in "${names[@]}"; do [[ -e $here/failed/$name && ! " ${failed[*]-} " == *" $name "* ]] && run "$name"; done # an earlier call's, once more

{
    echo "done: $(find "$here/done" -type f -printf '%f\n' | sort | paste -sd' ')"
    echo "failed: ${failed[*]-}"
    echo "left: ${rest[*]-}"
    "$py" -c 'import platform, torch; print(platform.python_version(), torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")'
} >"$here/logs/summary.txt" 2>&1
mkdir -p "$here/out/runs/full"
rm -rf "$here/out/runs/full/logs"
cp -r "$here/logs" "$here/out/runs/full/logs"
packing=$(dirname "$tar")/.packing.$(basename "$tar") # the ending tells tar whether to compress
tar -C "$here/out" -caf "$packing" results nbs runs && mv "$packing" "$tar"
cat "$here/logs/summary.txt"
echo "packed: $tar ($(($(stat -c %s "$tar") / 1024)) kB) after $((SECONDS - start)) s"
((${#failed[@]})) && exit 1
((${#rest[@]})) && exit 2
exit 0
