#!/usr/bin/env bash
# Measures a shipped bundle anew and writes all that is said of how well it hears: experiments/NAME-bundle.json, -check.json,
# -empty.json, its model card and docs/NAME-report.html. NAME is an alias in bundles/: "default", or what $BUNDLE says.
# About 20 minutes of two cores, and ten minutes more to synthesise the voice-search dev set, once. Needs the corpora in
# $DENGAR_DATA, and experiments/NAME-bundle.json to name the bundle and its training. With RUN=work/runs/NAME, a run that
# held speech out of its training (data.held_out_share), the report tells variance from mismatch by it. The bundle is set side
# by side with $AGAINST, another alias (the default one with "fast", others with it), where that has been measured before.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DENGAR_DATA:?is not set: the folder of the corpora, see experiments/README.md}"
name=${BUNDLE:-default}
other=${AGAINST:-$([ "$name" = default ] && echo fast || echo default)}
music=${MUSIC:-/usr/share/asterisk/moh} # of Debian's asterisk-moh-opsound-g722
dengar() { OMP_NUM_THREADS=1 .venv/bin/dengar "$@"; }
dev=$DENGAR_DATA/speech/dev.jsonl
results=work/results/$name
queries=work/voice-search-dev
commit=$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)

[ -e "$queries/manifest.jsonl" ] || dengar data synth data/voice-search-dev.yaml -o "$queries"

quiet() { # and what it makes of speech that it was trained on, or that was held out of that
  dengar evaluate "$dev" "$queries/manifest.jsonl" -b "$name" -o "$results/clean"
  dengar evaluate "$DENGAR_DATA/speech/train.jsonl" --every 40 -b "$name" -o "$results/train"
  [ -z "${RUN:-}" ] || dengar evaluate "$RUN/held-out.jsonl" -b "$name" -o "$results/held-out"
  dengar bundle check "$dev" --every 3 --beside 20 -b "$name" --json > "experiments/$name-check.json"
}
noisy() {
  dengar evaluate "$dev" "$queries/manifest.jsonl" --every 3 --snr 20,10,5,0 -b "$name" -o "$results/car"
  local sounds=(--noise-dir "$DENGAR_DATA/noise")
  [ ! -d "$music" ] || sounds+=(--music "$music")
  dengar ladder -b "$name" --empty 10 "${sounds[@]}" -o "$results/empty" --json > "experiments/$name-empty.json"
}
mkdir -p "$results"
quiet > "$results/quiet.log" 2>&1 & first=$!
noisy > "$results/noisy.log" 2>&1 & second=$!
for process in $first $second; do
  wait $process || { tail -n 5 "$results"/*.log; exit 1; }
done

.venv/bin/python -m asr.record "experiments/$name-bundle.json" \
  --clean "$results/clean" --car "$results/car" --train "$results/train" --commit "$commit"
# Without speech held out of the training, dev stands for it: the same corpora, other speakers. The reference is what is
# known of Whisper tiny.en on like sets, 6, 13 and 36 %, in dev's shares.
rungs=(--train "$results/train" --train-dev "$results/clean")
[ -z "${RUN:-}" ] || rungs=(--train "$results/train" --train-dev "$results/held-out")
[ ! -d "work/results/$other/car" ] || rungs+=(--against "work/results/$other/clean" --against "work/results/$other/car")
dengar report "$results/clean" "$results/car" "${rungs[@]}" \
  --reference 'Whisper tiny.en offline, on like sets=0.121' --max-mb 3 -o "docs/$name-report.html"
dengar bundle card "$name" -r "$results/clean" -r "$results/car" --training "experiments/$name-bundle.json" \
  --check "experiments/$name-check.json" --notes "experiments/$name-notes.md"
