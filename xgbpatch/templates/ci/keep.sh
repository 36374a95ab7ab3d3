# Exit codes of `plan`: 0 all current, 10 something to rebuild, 20 a base or an image changed in a way that needs a person,
# another one where an image could not be looked at. `rebuild` plans each image for itself: it leaves one alone that has
# drifted or is foreign (20), and one that cannot be looked at, and brings the others up to date. The states tell which.
has_drifted() { # FILE COLUMN
    awk -v column="$2" 'NF == 0 { exit } $column ~ /^(drifted|foreign)$/ { found = 1 } END { exit !found }' "$1"
}
plan=0
rebuild=0
: >rebuild.txt
xgbpatch plan --all >plan.txt || plan=$?
cat plan.txt
if [ ! -s plan.txt ]; then
    report "The plan failed (exit $plan): the log says why" plan.txt
    exit $plan
elif [ $plan -eq 0 ]; then
    report "Every image is current" plan.txt
else
    # shellcheck disable=SC2086 # options are words
    xgbpatch rebuild --all ${XGBPATCH_REBUILD_OPTIONS-} >rebuild.txt || rebuild=$?
    cat rebuild.txt
    report "Rebuilt (exit $rebuild)" rebuild.txt
fi
case $plan in
0 | 10 | 20) seen=all code=$rebuild ;;
*) seen=some code=$plan ;;
esac
if [ "$code" -eq 20 ]; then code=0; fi # the issue tells of it
if has_drifted plan.txt 3; then
    drifted plan.txt
elif has_drifted rebuild.txt 2; then # the base moved between the two; the difference is in a plan
    xgbpatch plan --all >plan.txt || true
    cat rebuild.txt >>plan.txt
    drifted plan.txt
elif [ $seen = all ]; then
    settled
fi
exit "$code"
