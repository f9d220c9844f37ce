"""What other machines are told, in their ``sh``: nothing but a POSIX shell, tar and the usual small programs is needed there.

Words are put in by ``quoted``. Exit codes are answers: 10 it is not there, 11 a link leads away, 12 it is no regular file,
20 the machine has not what is asked for (it says what it has).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ABSENT, LINK, NO_FILE, LACKS = 10, 11, 12, 20
ENGINE = "engine"  # in a task's directory: what is known of it there, of the node n: engine.n
PID, ENDED, CANCELED, TIMEOUT, HOSTS = "pid", "ended", "canceled", "timeout", "hosts"
KILL_S = 30  # from the word to end to the kill

HOME = 'printf "%s\\n" "$HOME"'

# the identity of a process: its number, when it started in ticks since boot, and which boot
_IDENTITY = """
ticks() { started=; { read -r stat </proc/$1/stat; } 2>/dev/null || return 1; set -- ${stat##*) }; started=${20}; [ "$1" != Z ] && [ "$1" != X ]; }
read -r boot </proc/sys/kernel/random/boot_id
"""

FACTS = """
cpus=$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null || echo 1)
memory=0
while read -r name value rest; do [ "$name" = MemTotal: ] && memory=$value && break; done </proc/meminfo
gpus=0
for device in /dev/nvidia[0-9]*; do [ -e "$device" ] && gpus=$((gpus + 1)); done
echo "facts $cpus $memory $gpus $(uname -m) $(uname -n)"
"""


def quoted(word: str) -> str:
    """Return ``word`` as a shell reads it back."""
    return shlex.quote(word)


def log_of(directory: str, rank: int = 0) -> str:
    """Return the file of what a task's program itself says, on the node ``rank``."""
    return f"{directory}/{ENGINE}" + (f".{rank}" if rank else "") + ".txt"


def lacks(cpus: int, memory_kib: int, gpus: int) -> str:
    """Return what ends with ``LACKS`` where the facts are less."""
    return f'[ "$cpus" -ge {cpus} ] && [ "$memory" -ge {memory_kib} ] && [ "$gpus" -ge {gpus} ] || exit {LACKS}\n'


# how many tasks run beside a directory, and whether it is there; $1: the directory of tasks, $2: the task's
LOAD = (
    _IDENTITY
    + f"""
running=0
for file in "$1"/*/{ENGINE}*/{PID}; do
    [ -e "$file" ] && ! [ -e "${{file%{PID}}}{ENDED}" ] || continue
    read -r pid start at rest <"$file" && [ "$at" = "$boot" ] && ticks "$pid" && [ "$started" = "$start" ] && running=$((running + 1))
done
echo "load $running"
[ -d "$2" ] && echo there
[ -e "$2/{ENGINE}/{HOSTS}" ] && {{ read -r hosts <"$2/{ENGINE}/{HOSTS}"; echo "hosts $hosts"; }}
:
"""
)

# one line for each line of input, "NUMBER DIRECTORY": NUMBER and how it stands
STANDINGS = (
    _IDENTITY
    + f"""
while read -r number place; do
    said=unknown
    if ! [ -d "$place" ]; then :
    elif [ -e "$place/{ENDED}" ]; then said=ended
    elif [ -e "$place/{PID}" ]; then
        pid=; start=; at=
        read -r pid start at rest <"$place/{PID}"
        if [ "$at" != "$boot" ]; then said=rebooted
        elif ticks "$pid" && [ "$started" = "$start" ]; then said=running
        elif [ -e "$place/job" ] && read -r pid start at rest <"$place/job" && ticks "$pid" && [ "$started" = "$start" ]; then said=running
        elif [ -e "$place/{ENDED}" ]; then said=ended
        else said=gone
        fi
    else said=waiting
    fi
    code=; why=
    [ $said = ended ] && read -r code why <"$place/{ENDED}"
    [ -e "$place/{CANCELED}" ] && why=canceled
    echo "$number $said ${{code:--}} ${{why:-exited}}"
done
"""
)

# for each line of input, "NUMBER DIRECTORY": the word to end, and, for those who do not hear it, the kill
CANCEL = (
    _IDENTITY
    + f"""
while read -r number place; do
    [ -d "$place" ] && ! [ -e "$place/{ENDED}" ] || continue
    : >"$place/{CANCELED}"
    : >"${{place%/*}}/cancel"
    [ -e "$place/{PID}" ] && read -r leader start at rest <"$place/{PID}" || continue
    [ "$at" = "$boot" ] || continue
    [ -e "$place/job" ] && read -r pid start at rest <"$place/job" && ticks "$pid" && [ "$started" = "$start" ] || continue
    kill -TERM "-$leader" 2>/dev/null || kill -TERM "$pid" 2>/dev/null
    (
        trap "" HUP
        exec </dev/null >/dev/null 2>&1
        left={KILL_S}
        while ticks "$pid" && [ "$started" = "$start" ]; do
            [ $left = 0 ] && kill -KILL "$pid" "-$leader" && break
            left=$((left - 1))
            sleep 1
        done
    ) &
done
"""
)


def start(
    directory: str, argv: Sequence[str], variables: Mapping[str, str], *, rank: int, hosts: str, time_s: float | None
) -> str:
    """Return what starts a task once, however often it is executed: who has made the file of its number is the one.

    It is detached from the connection; what it says goes to ``engine.txt``.
    """
    engine, log = f"{directory}/{ENGINE}" + (f".{rank}" if rank else ""), log_of(directory, rank)
    exports = "".join(f"export {name}={quoted(value)}\n" for name, value in variables.items())
    limit = ""
    if time_s is not None:
        limit = f"""
( trap 'kill $pause; exit 0' TERM; sleep {max(1, round(time_s))} & pause=$!; wait $pause; : >{quoted(engine)}/{TIMEOUT}; kill -TERM $job; sleep {KILL_S}; kill -KILL $job ) 2>/dev/null &
watch=$!"""
    body = f"""{_IDENTITY}
cd {quoted(engine)} || exit 1
ticks $$ && echo "$$ $started $boot" >{PID}.$$ || exit 1
ln {PID}.$$ {PID} 2>/dev/null
won=$?
rm -f {PID}.$$
[ $won = 0 ] || exit 0
trap : TERM HUP INT
umask "$1"
cd {quoted(directory)} || exit 1
{exports}{" ".join(quoted(word) for word in argv)} </dev/null &
job=$!
ticks $job && echo "$job $started $boot" >{quoted(engine)}/job{limit}
while :; do wait $job; code=$?; kill -0 $job 2>/dev/null || break; done
why=exited
[ -e {quoted(engine)}/{TIMEOUT} ] && why=timeout
echo "$code $why" >{quoted(engine)}/{ENDED}.new
mv {quoted(engine)}/{ENDED}.new {quoted(engine)}/{ENDED}
[ -z "${{watch-}}" ] || kill -TERM $watch 2>/dev/null
"""
    return f"""
[ -r /proc/self/stat ] || {{ echo "this is no Linux: there is no /proc" >&2; exit 1; }}
mask=$(umask)
umask 077
mkdir -p {quoted(engine)} || exit 1
if ! [ -e {quoted(engine)}/{PID} ]; then
    [ -e {quoted(engine)}/{HOSTS} ] || echo {quoted(hosts)} >{quoted(engine)}/{HOSTS}
    run={quoted(body)}
    if command -v setsid >/dev/null 2>&1; then setsid sh -c "$run" sh "$mask" </dev/null >>{quoted(log)} 2>&1 &
    else nohup sh -c "$run" sh "$mask" </dev/null >>{quoted(log)} 2>&1 &
    fi
    turn=0
    until [ -e {quoted(engine)}/{PID} ]; do
        turn=$((turn + 1))
        [ $turn -lt 500 ] || exit 1
        sleep 0.02 2>/dev/null || sleep 1
    done
fi
"""


def guarded(root: str, path: str) -> str:
    """Return what ends with ``LINK`` where a directory on the way to ``path``, below ``root``, is a link."""
    parts = path.split("/")[:-1]
    ways = [f"{root}/{'/'.join(parts[: number + 1])}" for number in range(len(parts))]
    return "".join(f"[ -L {quoted(way)} ] && exit {LINK}\n" for way in ways)


def read(place: str, offset: int, limit: int) -> str:
    """Return what says a piece of a file."""
    file = quoted(place)
    return f"""
[ -L {file} ] && exit {NO_FILE}
[ -e {file} ] || exit {ABSENT}
[ -f {file} ] || exit {NO_FILE}
tail -c +{offset + 1} {file} | head -c {limit}
"""


def receive(root: str, token: str, places: Mapping[str, str]) -> str:
    """Return what takes a tar from its input and puts each of its entries where it belongs, unless something is there already.

    Args:     places: name in the tar → its place.
    """
    half = quoted(f"{root}/.incoming.{token}")
    puts = "".join(f"put {name} {quoted(place)}\n" for name, place in places.items())
    return f"""
umask 077
mkdir -p {quoted(root)} && mkdir {half} || exit 1
trap "rm -rf {half}" EXIT
trap 'exit 1' HUP TERM PIPE
put() {{
    if [ -e "$2" ] || [ -L "$2" ]; then return 0; fi
    mkdir -p "${{2%/*}}" || exit 1
    if [ -d {half}/$1 ]; then
        mv {half}/$1 "$2" || [ -d "$2" ] || exit 1
        if [ -e "$2/$1" ]; then rm -rf "$2/$1"; fi
    else
        ln {half}/$1 "$2" 2>/dev/null || [ -e "$2" ] || mv {half}/$1 "$2" || exit 1
    fi
}}
tar -x -p -o -f - -C {half} || exit 1
{puts}"""


def have(places: Sequence[str], kept: Sequence[str] = ()) -> str:
    """Return what says the numbers of those places that are there. Whoever cleans sees that somebody has asked for ``kept``."""
    touch = f"touch -c {' '.join(quoted(place) for place in kept)} 2>/dev/null\n" if kept else ""
    return touch + (
        "".join(
            f"{{ [ -e {quoted(place)} ] || [ -L {quoted(place)} ]; }} && echo {number}\n" for number, place in enumerate(places)
        )
        + ":"
    )


def give(place: str) -> str:
    """Return what says a directory as a tar."""
    directory = quoted(place)
    return f"[ -L {directory} ] && exit {ABSENT}\n[ -d {directory} ] || exit {ABSENT}\ntar -c -f - -C {directory} ."


def remove(place: str) -> str:
    """Return what removes a file or a directory, read-only ones too."""
    gone = quoted(place)
    return f"rm -rf {gone} 2>/dev/null || {{ chmod -R u+rwX {gone} && rm -rf {gone}; }}"
