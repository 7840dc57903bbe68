mkdir -p convbench-out
convbench=$WORK/environment/bin/convbench
export PYTHONPATH=$PWD/src:$PWD
baseline=$(baseline_name "$CONFIG")
options=(--summary convbench-out/summary.md --junit convbench-out/junit.xml --fail-on "$FAIL_ON")
known=no code=0 against=()
if "$convbench" baseline list | awk -v name="$baseline" '$1 == name {found = 1} END {exit !found}'; then known=yes; fi
if [ "$known" = yes ] && [ "$ACCEPT" != true ]; then against=(--against "baseline:$baseline"); fi
report=$("$convbench" run "$CONFIG" "${options[@]}" "${against[@]}") || code=$?
# Exit code 4: the lock file has changed the environment since the baseline. The pull request that changed it was judged
# side by side. This run becomes the new baseline of the history. Without a report, nothing was measured yet.
if [ "$code" = 4 ] && [ -z "$report" ]; then report=$("$convbench" run "$CONFIG" "${options[@]}") || true; fi
echo "exit code $code; report: ${report:-none}"
if [ "$code" = 4 ]; then
  echo "Not comparable with $baseline, see the log: this run is the new baseline." | tee -a convbench-out/summary.md
fi
id=$(grep -oE '[0-9]{8}-[0-9]{6}-[a-z0-9]{4}' <<< "${report##*/}" || true) # reports/quick-20261126-032301-k7q2.html
if [ -n "$id" ] && { [ "$code" = 4 ] || [ "$ACCEPT" = true ] || [ "$known$code" = no0 ]; }; then
  "$convbench" baseline set "$baseline" "$id"
fi
