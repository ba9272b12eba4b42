"""The server's user, racing root until the end of its input. Arguments: the tree, root's place that looks like it, a
directory of its own in the tree, and the names in the tree to race for."""

import ctypes
import itertools
import os
import random
import sys
import threading

EXCHANGE = 2
libc = ctypes.CDLL(None)
tree, outside, own = sys.argv[1:4]
names = sys.argv[4:]
places = [os.path.dirname(tree), os.path.join(os.path.dirname(tree), "." + os.path.basename(tree) + ".mm"), tree]
places += ["/tmp", "/run", "/var/tmp", "/dev/shm"]
ended = threading.Event()


def exchange(one, two):
    return libc.renameat2(-100, one.encode(), -100, two.encode(), EXCHANGE) == 0


def stand_ins(name):
    """What takes the place of an entry: a link to root's, a pipe, a directory."""
    place = os.path.join(own, name.replace("/", "_"))
    os.makedirs(place)
    link, pipe, directory = (os.path.join(place, kind) for kind in ("link", "pipe", "directory"))
    os.symlink(os.path.join(outside, name), link)
    os.mkfifo(pipe)
    os.mkdir(directory)
    return [link, link, pipe, directory]


def race():
    """Each name is something else for about a third of the time."""
    others = {name: stand_ins(name) for name in names}
    for name in itertools.cycle(names):
        path, other = os.path.join(tree, name), random.choice(others[name])
        for _ in range(20):
            if ended.wait(random.random() * 0.004):
                return
            if exchange(path, other):
                ended.wait(random.random() * 0.002)
                exchange(path, other)


def lurk():
    """What appears in a place where others work, and can be moved, becomes a link to root's."""
    known = {entry.path for place in places if os.path.isdir(place) for entry in listed(place)}
    while not ended.wait(0.0005):
        for place in places:
            for entry in listed(place):
                # What other tests have made there is no business of this one.
                if entry.path in known or entry.name.startswith(("mm-test-", ".tmp")):
                    continue
                for path in [entry.path] + [inner.path for inner in listed(entry.path)]:
                    try:
                        os.rename(path, path + ".taken")
                        os.symlink(outside, path)
                        known.update((path, path + ".taken"))
                    except OSError:
                        pass


def listed(place):
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError:
        return []


threads = [threading.Thread(target=race), threading.Thread(target=lurk)]
for thread in threads:
    thread.start()
print("racing", flush=True)
sys.stdin.read()
ended.set()
for thread in threads:
    thread.join()
