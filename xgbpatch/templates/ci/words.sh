title="xgbpatch: the base image has drifted and needs a person"
explained() {
    echo "A function of AWS's base image that a patch builds on has changed. The images named here were not pushed."
    echo "Read the difference. If the patch is still right: \`xgbpatch rebase IMAGE --accept-drift\`, then run this job again."
    echo
    fenced "$1"
}
fenced() {
    echo "~~~text"
    head -c 60000 "$1"
    echo
    echo "~~~"
}
