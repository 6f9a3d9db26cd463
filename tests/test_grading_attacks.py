"""Attacks on the sandbox: each wins against a process without isolation, else it would test nothing, and fails inside.

A victim stands beside the attacker, and the next process after it; both are sound in every case.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from classroom import needs_isolation

from lecture_lib.grading.server import Ended, Server

# Each is a cell that prints "won" if it got what it wanted; {secret} is a file of the instructor's, {victim} a process.
ATTACKS = {
    "read the instructor's files": "print('won' if open('{secret}').read() == 'gradebook' else '')",
    "write the instructor's files": "open('{secret}', 'a').write('x'); print('won')",
    "find a neighbour's process": "import os; os.kill({victim}, 0); print('won')",
    "stop a neighbour": "import os, signal; os.kill({victim}, signal.SIGSTOP); print('won')",
    "read a neighbour's memory": "print('won' if open('/proc/{victim}/maps').read() else '')",
    "see processes": "import os; print('won' if len([p for p in os.listdir('/proc') if p.isdigit()]) > 8 else '')",
    "reach the network": (
        "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "socket.create_connection(s.getsockname(), 1); print('won')"
    ),
    "talk to the kernel by netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('won')",
    "find an abstract socket": (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0{abstract}'); print('won')"
    ),
    "write into the packages": (
        "import torch, pathlib\np = pathlib.Path(torch.__file__).parent / 'planted.txt'\np.write_text('x'); p.unlink(); print('won')"
    ),
    "write into the library": (
        "import lecture_lib, pathlib\np = pathlib.Path(lecture_lib.__file__).parent / 'planted.txt'\np.write_text('x'); p.unlink(); print('won')"
    ),
    "fill the disk": "f = open('/tmp/full-{victim}', 'wb')\nfor _ in range(200): f.write(b'x' * (1 << 20))\nf.close(); import os; os.unlink(f.name); print('won')",
    "use up the descriptors": "import os\nx = [os.open('/dev/null', 0) for _ in range(600)]; print('won')",
    "an anonymous file": "import os; os.memfd_create('x'); print('won')",
    "shared memory of system V": "import ctypes; print('won' if ctypes.CDLL(None).shmget(77, 4096, 0o1666) >= 0 else '')",
    "a session of its own": "import os\npid = os.fork()\nif pid == 0:\n    try: os.setsid(); os._exit(0)\n    except OSError: os._exit(1)\nprint('won' if os.waitpid(pid, 0)[1] == 0 else '')",
    "many processes": (
        "import os, time\nn = 0\nfor _ in range(150):\n    pid = os.fork()\n    if pid == 0:\n        time.sleep(2); os._exit(0)\n    n += 1\nprint('won')"
    ),
    "the parent's environment": "import os; print('won' if '{token}' in str(dict(os.environ)) else '')",
    "the server's environment": "print('won' if b'{token}' in open('/proc/self/environ', 'rb').read() else '')",
}
INSIDE_ONLY = {  # what an ordinary user may not do even outside: tried inside alone
    "a new user namespace": "import ctypes; print('won' if ctypes.CDLL(None).unshare(0x10000000) == 0 else '')",
    "mount": "import ctypes; print('won' if ctypes.CDLL(None).mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0 else '')",
    "ptrace": "import ctypes, os; print('won' if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0 else '')",
    "bpf": "import ctypes; print('won' if ctypes.CDLL(None).syscall(321, 0, 0, 0) != -1 else '')",
    "io_uring": "import ctypes; print('won' if ctypes.CDLL(None).syscall(425, 8, bytes(200)) >= 0 else '')",
    "keyring": "import ctypes; print('won' if ctypes.CDLL(None).syscall(250, 0, -3, 1) != -1 else '')",
    "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM); print('won')",
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x'); print('won')",
    "become root": "import os; os.setuid(0); print('won')",
    "a device": "import os, stat; os.mknod('/job/sda', 0o600 | stat.S_IFBLK, os.makedev(8, 0)); print('won')",
    "a hard link to the library": "import os, lecture_lib; os.link(lecture_lib.__file__, '/job/x'); print('won')",
    "leave the root": "import os; os.chroot('/job'); print('won')",
    "descriptors of the server": "import os\nfor d in range(3, 200):\n    try: n = os.readlink(f'/proc/self/fd/{d}')\n    except OSError: continue\n    if not n.startswith('socket'): print('won')",
    "a clone with namespaces": "import ctypes; print('won' if ctypes.CDLL(None).syscall(56, 0x10000000 | 17, 0, 0, 0, 0) > 0 else '')",
}


def outcome(child, source):
    """Whether an attack won: it printed so, and its process is what it was."""
    try:
        outputs = child.cell(source, 10)
    except Ended as error:
        return f"ended: {error}"
    texts = [each.get("text", "") for each in outputs if each.get("output_type") == "stream"]
    return "won" if "won" in "".join(texts).split() else "failed"


@pytest.fixture
def scene(tmp_path):
    """A secret, a neighbour process, an abstract socket, a token in the environment."""
    import socket

    secret = tmp_path / "secret"
    secret.write_text("gradebook")
    secret.chmod(0o666)
    tmp_path.chmod(0o777)
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    name = f"lecture-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        yield {"secret": secret, "victim": victim.pid, "abstract": name, "token": "s3cr3t-t0ken"}
    assert victim.poll() is None
    victim.kill()
    victim.wait()
    assert secret.read_text().startswith("gradebook")


@pytest.fixture(scope="module")
def inside():
    needs_isolation()
    os.environ["LECTURE_TOKEN"] = "s3cr3t-t0ken"
    with Server("nested") as server:
        yield server
    del os.environ["LECTURE_TOKEN"]


def outside(source):
    """What a cell prints in a plain interpreter with the instructor's rights and environment, word by word."""
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LECTURE_TOKEN": "s3cr3t-t0ken"},
    ).stdout.split()


def filled(source, scene):
    for key, value in scene.items():
        source = source.replace(f"{{{key}}}", str(value))
    return source


@pytest.mark.slow
@pytest.mark.parametrize("what", ATTACKS)
def test_an_attack_wins_outside_and_fails_inside(what, scene, inside):
    source = filled(ATTACKS[what], scene)
    assert "won" in outside(source), "the attack itself does not work: it tests nothing"
    os.kill(scene["victim"], 18)  # let a stopped neighbour go on
    scene["secret"].write_text("gradebook")
    beside, attacker = inside.start(), inside.start()
    try:
        assert outcome(attacker, source) != "won"
        assert beside.cell("print(6 * 7)", 10) == [
            {"output_type": "stream", "name": "stdout", "text": "42\n"}
        ]
    finally:
        beside.close()
        attacker.close()
    after = inside.start()
    assert after.cell("print(6 * 7)", 10)[0]["text"] == "42\n"
    after.close()
    assert scene["secret"].read_text() == "gradebook"


@pytest.mark.parametrize("what", INSIDE_ONLY)
def test_what_no_user_may_do_is_not_done_inside(what, scene, inside):
    child = inside.start()
    try:
        assert outcome(child, filled(INSIDE_ONLY[what], scene)) != "won"
    finally:
        child.close()


@pytest.mark.slow
def test_processes_cannot_see_or_outlive_each_other(inside):
    first, second = inside.start(), inside.start()
    assert "won" not in outcome(first, "import os; os.makedirs('/job/x'); open('/tmp/y', 'w').write('1')")
    assert second.cell("import os; print(os.listdir('/job'), os.path.exists('/tmp/y'))", 5)[0][
        "text"
    ].endswith("False\n")
    assert "'x'" not in second.cell("print(os.listdir('/job'))", 5)[0]["text"]
    first.cell(
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0:\n        time.sleep(1000); os._exit(0)",
        5,
    )
    members = first._tree.members()
    assert len(members) >= 6
    first.close()
    second.close()
    time.sleep(0.3)
    assert not any(running(pid) for pid in members)


@pytest.mark.slow
def test_nothing_is_left_when_the_grader_is_killed(tmp_path):
    needs_isolation()
    code = (
        "import os, sys\nfrom lecture_lib.grading.server import Server\ns = Server('nested'); c = s.start()\n"
        "c.cell('import os, time\\nif os.fork() == 0: time.sleep(1000)', 5)\n"
        "print(*c._tree.members(), s._process.pid, flush=True)\nimport time; time.sleep(100)"
    )
    grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(each) for each in grader.stdout.readline().split()]
    assert len(pids) >= 4
    grader.kill()
    grader.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and any(running(pid) for pid in pids):
        time.sleep(0.05)
    assert not any(running(pid) for pid in pids)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_callers_get_their_own_processes(inside):
    from concurrent.futures import ThreadPoolExecutor

    def one(number):
        child = inside.start()
        try:
            child.cell(f"x = {number}", 5)
            return child.cell("print(x)", 5)[0]["text"]
        finally:
            child.close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(one, range(24))) == [f"{n}\n" for n in range(24)]


def test_memory_of_one_process_is_bounded(inside):
    child = inside.start()
    try:
        assert outcome(child, "x = bytearray(50 << 30); print('won')") == "failed"
    finally:
        child.close()


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]


def python_for_everybody():
    """An interpreter of this version that an ordinary user may start, and where its packages are."""
    version = f"python3.{sys.version_info.minor}"
    for each in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if (
            Path(each).exists()
            and subprocess.run(
                [*NOBODY, each, "-c", "import os, sys; os.lstat(os.path.realpath(sys.executable))"],
                capture_output=True,
            ).returncode
            == 0
        ):
            return each, [path for path in sys.path if path.endswith("site-packages")]
    return None, []


@pytest.mark.slow
def test_the_server_as_an_ordinary_user(tmp_path):
    """As root the whole suite drops to a user inside; here the grader itself is one."""
    needs_isolation()
    if os.geteuid() != 0:
        pytest.skip("this run is an ordinary user's already: every other test here is this one")
    library = Path(__file__).resolve().parents[1]
    python, packages = python_for_everybody()
    if python is None or not all(os.stat(up).st_mode & 0o005 == 0o005 for up in library.parents):
        pytest.skip("an ordinary user cannot read this interpreter or this checkout")
    path = os.pathsep.join([str(library), *packages])
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    for up in (tmp_path, tmp_path.parent):
        up.chmod(0o755)
    found = subprocess.run(
        [
            *NOBODY,
            python,
            "-c",
            "from lecture_lib.grading.way import works\nprint([works(w) for w in ('nested', 'fresh')])",
        ],
        capture_output=True,
        text=True,
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": path,
            "HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        timeout=180,
    )
    assert found.stdout.strip() == "['', '']", found.stdout + found.stderr[-2000:]
