#!/usr/bin/env bash
# Measures the default bundle anew and writes what is said of it: experiments/default-bundle.json, its model card and
# docs/default-report.html. About ten minutes of one core, and as long again to synthesise the voice-search dev set, once.
# Needs the corpora in $DENGAR_DATA; takes the bundle that bundles/default names, which the record must name too.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DENGAR_DATA:?is not set: the folder of the corpora, see experiments/README.md}"
dengar() { .venv/bin/dengar "$@"; }
results=work/results
queries=work/voice-search-dev
commit=$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)

[ -e "$queries/manifest.jsonl" ] || dengar data synth data/voice-search-dev.yaml -o "$queries"
dengar evaluate "$DENGAR_DATA/speech/dev.jsonl" "$queries/manifest.jsonl" -o "$results/clean"
dengar evaluate "$DENGAR_DATA/speech/dev.jsonl" "$queries/manifest.jsonl" --every 3 --snr 20,10,5,0 -o "$results/car"
dengar evaluate "$DENGAR_DATA/speech/train.jsonl" --every 40 -o "$results/train"
.venv/bin/python -m asr.record experiments/default-bundle.json \
  --clean "$results/clean" --car "$results/car" --train "$results/train" --commit "$commit"
# Dev is of the corpora that were trained on, by other speakers: it is the held-out error too. The reference is what is
# known of Whisper tiny.en on like sets, 6, 13 and 36 %, in dev's shares.
dengar report "$results/clean" "$results/car" --train "$results/train" --train-dev "$results/clean" \
  --reference 'Whisper tiny.en offline, on like sets=0.121' --max-mb 3 -o docs/default-report.html
dengar bundle card default -r "$results/clean" -r "$results/car" --training experiments/default-bundle.json \
  --check experiments/default-check.json --notes experiments/default-notes.md
