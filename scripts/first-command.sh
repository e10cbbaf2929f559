#!/usr/bin/env bash
# Runs the first command of the README as it stands there and checks that it answers 7.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$(sed -n 's/^ *\$\{0,1\} *\(cargo run --release -- run .*\)$/\1/p' README.md | head -n 1)
[ -n "$command" ] || { echo "first-command: README.md has no \`cargo run --release -- run …\`" >&2; exit 1; }
echo "$command"
answer=$(bash -c "$command" | python3 -c 'import json, sys; answer = json.load(sys.stdin); print(answer["provider"], *answer["outputs"]["digit"]["data"])')
[ "$answer" = "embedded 7" ] || { echo "first-command: wanted \`embedded 7\`, got \`$answer\`" >&2; exit 1; }
echo "$answer"
