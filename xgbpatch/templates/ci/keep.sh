# Exit codes of `plan`: 0 all current, 10 something to rebuild, 20 the base changed in a way that needs a person.
plan=0
xgbpatch plan --all >plan.txt || plan=$?
cat plan.txt
case $plan in
0)
    report "Every image is current" plan.txt
    settled
    ;;
10)
    rebuild=0
    # shellcheck disable=SC2086 # options are words
    xgbpatch rebuild --all --json ${XGBPATCH_REBUILD_OPTIONS-} >rebuild.json || rebuild=$?
    cat rebuild.json
    case $rebuild in
    0)
        report "Rebuilt and pushed" rebuild.json
        settled
        ;;
    20)
        report "The base has drifted" rebuild.json
        drifted rebuild.json
        ;;
    *)
        report "Not every image could be rebuilt (exit $rebuild)" rebuild.json
        exit "$rebuild"
        ;;
    esac
    ;;
20)
    report "The base has drifted: nothing was pushed" plan.txt
    drifted plan.txt
    ;;
*)
    report "The plan failed (exit $plan): the log says why" plan.txt
    exit "$plan"
    ;;
esac
