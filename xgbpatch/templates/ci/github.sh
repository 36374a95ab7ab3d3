report() {
    {
        echo "### $1"
        echo
        fenced "$2"
    } >>"$GITHUB_STEP_SUMMARY"
}
open_issue() { gh issue list --label xgbpatch-drift --state open --limit 1 --json number --jq '.[].number'; }
drifted() {
    explained "$1" >issue.md
    number=$(open_issue)
    if [ -n "$number" ]; then
        gh issue edit "$number" --body-file issue.md
    else
        gh label create xgbpatch-drift --force --description "The base image changed under a patch"
        gh issue create --title "$title" --label xgbpatch-drift --body-file issue.md
    fi
    echo "::warning title=xgbpatch::The base has drifted: see the issue."
}
settled() {
    number=$(open_issue)
    if [ -n "$number" ]; then gh issue close "$number" --comment "No drift any more."; fi
}
