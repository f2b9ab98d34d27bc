# The guard of a run: outlives whoever started it just long enough to end what was started.
# Standard input says which process groups are alive (+ID), which have ended (-ID), and which single process is to be
# asked to stop (!ID). End of input means that the other side is gone, however it went.
# Argument: a directory to remove at the end.
trap '' INT TERM HUP QUIT
groups='' asked=''
while read -r line; do
    id=${line#?}
    case $line in
    +*) groups="$groups $id" ;;
    '!'*) asked=$id ;;
    -*)
        left=''
        for group in $groups; do [ "$group" = "$id" ] || left="$left $group"; done
        groups=$left
        [ "$asked" != "$id" ] || asked=''
        ;;
    esac
done
[ -z "$asked" ] || kill -s TERM "$asked" 2>/dev/null
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
tries=100 # 5 s in all: where nobody reaps, a killed group never looks empty
for group in $groups; do
    while [ $tries -gt 0 ] && kill -s 0 -- "-$group" 2>/dev/null; do
        sleep 0.05
        tries=$((tries - 1))
    done
done
[ -z "$1" ] || rm -rf -- "$1"
