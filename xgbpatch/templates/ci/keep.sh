# Exit codes of `plan`: 0 all current, 10 something to rebuild, 20 a base changed in a way that needs a person.
# `rebuild` leaves a drifted image alone (20) and brings the others up to date.
plan=0
xgbpatch plan --all >plan.txt || plan=$?
cat plan.txt
case $plan in
0)
    report "Every image is current" plan.txt
    settled
    ;;
10 | 20)
    rebuild=0
    # shellcheck disable=SC2086 # options are words
    xgbpatch rebuild --all ${XGBPATCH_REBUILD_OPTIONS-} >rebuild.txt || rebuild=$?
    cat rebuild.txt
    report "Rebuilt (exit $rebuild)" rebuild.txt
    if [ $plan -ne 20 ] && [ $rebuild -eq 20 ]; then # the base moved between the two
        xgbpatch plan --all >plan.txt || true
    fi
    if [ $plan -eq 20 ] || [ $rebuild -eq 20 ]; then
        drifted plan.txt
    else
        settled
    fi
    case $rebuild in
    0 | 20) ;;
    *) exit $rebuild ;;
    esac
    ;;
*)
    report "The plan failed (exit $plan): the log says why" plan.txt
    exit $plan
    ;;
esac
