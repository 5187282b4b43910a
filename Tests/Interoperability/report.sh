#!/usr/bin/env bash
# A report of 805 prompts in headless Chromium: no script runs, nothing is fetched, nothing sticks out at two widths, light and dark.
#
#     Tests/Interoperability/report.sh [FOLDER]     # keeps screenshots in FOLDER; needs python3 and
#                                                   # apt-get install --no-install-recommends chromium-headless-shell
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
folder=${1:-$(mktemp -d)}
swift build -c release --product evalharness
python3 Tests/Interoperability/hostile_run.py "$folder"
(
    cd "$folder"
    "$here/.build/release/evalharness" run alpacaeval --prompts prompts.json --model outputs:outputs.json \
        --judge annotations:annotations.json --name '<b onclick=alert(1)>' --missing-limit 1 --overwrite > /dev/null
    mv results/alpacaeval/*/report.html hostile.html
)
for width in 390 1280; do
    for scheme in light dark; do
        python3 Tests/Interoperability/page_check.py "$folder/hostile.html" --width "$width" --scheme "$scheme" \
            --out "$folder/report-$width-$scheme.png" > "$folder/report-$width-$scheme.json"
        python3 - "$folder/report-$width-$scheme.json" << 'PRINT'
import json, sys
page = json.load(open(sys.argv[1]))
print(f"{page['innerWidth']:5} px, {'dark' if page['dark'] else 'light'}: {page['bytes'] / 1e6:.1f} MB, {page['elements']} elements, loaded in "
      f"{page['loadMs']:.0f} ms, problems: {page['problems'] or 'none'}")
PRINT
    done
done
