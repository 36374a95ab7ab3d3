title="xgbpatch: the base image has drifted and needs a person"
explained() {
    echo "AWS's base has changed something that a patch relies on. An image that stands here as drifted was not pushed."
    echo "One that stands here as foreign is not what its labels say: somebody put another image under its tag. Look who."
    echo "Read the difference. Where the patch is still right: \`xgbpatch rebuild --all --accept-drift\`, by hand."
    echo
    fenced "$1"
}
fenced() {
    echo "~~~text"
    # issues and messages have a limit, and have to be UTF-8: iconv drops a character that the limit cuts in two
    head -c 60000 "$1" | iconv -c -f UTF-8 -t UTF-8 2>/dev/null || true
    echo
    echo "~~~"
}
