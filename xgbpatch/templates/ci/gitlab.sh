report() {
    {
        echo "### $1"
        echo
        fenced "$2"
    } >>report.md
}
# api METHOD PATH [FIELD=VALUE | FIELD@FILE]...: prints the number of the (first) issue in the answer, if there is one.
api() {
    python3 - "$@" <<'PYTHON'
import json, os, pathlib, re, sys, urllib.parse, urllib.request

method, path, *words = sys.argv[1:]
fields = {}
for word in words:
    name, kind, value = re.fullmatch(r"(?s)(\w+)([=@])(.*)", word).groups()
    fields[name] = value if kind == "=" else pathlib.Path(value).read_text(encoding="utf-8", errors="replace")
url = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}/{path}"
request = urllib.request.Request(url, method=method, headers={"PRIVATE-TOKEN": os.environ["XGBPATCH_GITLAB_TOKEN"]})
if fields:
    request.data = urllib.parse.urlencode(fields).encode()
with urllib.request.urlopen(request, timeout=60) as answer:
    found = json.load(answer)
print(*[issue["iid"] for issue in (found if isinstance(found, list) else [found])][:1])
PYTHON
}
open_issue() { api GET "issues?state=opened&labels=xgbpatch-drift&per_page=1"; }
drifted() {
    if [ -z "${XGBPATCH_GITLAB_TOKEN-}" ]; then
        echo "The base has drifted. To get an issue instead of a failed job, set XGBPATCH_GITLAB_TOKEN." >&2
        if [ "$code" -eq 0 ]; then code=20; fi
        return 0
    fi
    explained "$1" >issue.md
    number=$(open_issue)
    if [ -n "$number" ]; then
        api PUT "issues/$number" description@issue.md
    else
        api POST issues "title=$title" labels=xgbpatch-drift description@issue.md
    fi
}
settled() {
    if [ -z "${XGBPATCH_GITLAB_TOKEN-}" ]; then return 0; fi
    number=$(open_issue)
    if [ -n "$number" ]; then api PUT "issues/$number" state_event=close; fi
}
