# The first process of a container: it reaps; its only child, the guard, obeys lines on standard
# input. When that closes, because our process ended in whatever way, the container ends.
# The guard runs as root with no capability but that to kill; it starts no program and makes no
# process, so that it works where no process can be made any more. POSIX shells only.

list() { # sets: all="pid:start ...", parent_PID, start_PID
    all=
    for directory in /proc/[0-9]*; do
        pid=${directory#/proc/}
        last=
        # A program's name may hold anything; after its last ") " there are only numbers.
        while IFS= read -r line || [ -n "$line" ]; do last=$line; done <"$directory/stat" || continue
        set -- ${last##*) }
        [ "$#" -ge 20 ] && [ "$1" != Z ] && [ "$1" != X ] || continue
        eval "parent_$pid=\$2 start_$pid=\${20}"
        all="$all $pid:${20}"
    done
}

mark() { list; marked="$all "; }

adopt() { # what is new since the mark keeps a shell: answers with it
    list
    added=
    for one in $all; do
        case $marked in *" $one "*) ;; *) added="$added $one" ;; esac
    done
    roots="$roots$added "
    answer=$added
}

doomed() { # whether the nearest older process above $1 is no background job but a root
    above=$1
    case $marked$roots in *" $above "*) return 1 ;; esac
    while :; do
        eval "above=\${parent_${above%%:*}:-0}"
        [ "$above" != 0 ] || return 0
        eval "above=$above:\${start_$above:-0}"
        case $roots in *" $above "*) return 0 ;; esac
        case $marked in *" $above "*) return 1 ;; esac
    done
}

sweep() { # kill what was started since the mark, but what older background jobs started
    for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        list
        found=
        for one in $all; do
            if doomed "$one"; then kill -9 "${one%%:*}" && found=yes; fi
        done
        [ -n "$found" ] || return
    done
    answer=busy
}

below() { # whether $1 is one of, or below one of, $targets
    above=$1
    while :; do
        case $targets in *" $above "*) return 0 ;; esac
        eval "above=\${parent_${above%%:*}:-0}"
        [ "$above" != 0 ] || return 1
        eval "above=$above:\${start_$above:-0}"
    done
}

end() { # kill the given shells' processes, and everything below
    targets=" $* "
    kept=
    for one in $roots; do case $targets in *" $one "*) ;; *) kept="$kept $one" ;; esac; done
    roots="$kept "
    for round in 1 2 3 4 5 6 7 8 9 10; do
        list
        found=
        for one in $all; do
            if below "$one"; then kill -9 "${one%%:*}" && found=yes; fi
        done
        [ -n "$found" ] || return
    done
    answer=busy
}

all() { # kill everything at once: nothing can fork its way out of that
    roots=$base
    marked=$base
    for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -9 -1
        list
        [ "$all " != "$base" ] || return
    done
    answer=busy
}

guard() {
    list
    base="$all "
    roots=$base
    marked=$base
    echo ready
    while read -r command arguments; do
        answer=
        case $command in mark | adopt | sweep | end | all) $command $arguments ;; esac
        echo "ok $answer"
    done
}

exec 3<&0 </dev/null
guard <&3 2>/dev/null &
exec 3<&-
wait
