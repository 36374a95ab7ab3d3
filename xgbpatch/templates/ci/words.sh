title="xgbpatch: the base image has drifted and needs a person"
explained() {
    echo "AWS's base has changed something that a patch relies on. An image that stands here as drifted was not pushed."
    echo "Read the difference. Where the patch is still right: \`xgbpatch rebuild --all --accept-drift\`, by hand."
    echo
    fenced "$1"
}
fenced() {
    echo "~~~text"
    head -c 60000 "$1"
    echo
    echo "~~~"
}
