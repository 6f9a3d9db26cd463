"""Memory for keys and values in blocks of equal size: taken one by one, shared by count, found again by what they hold.

A text needs ceil(n / block_size) blocks, wherever they lie; so at most one block a text is partly empty. A full block
is known by the hash of its tokens and of all before them: another text with this beginning need not compute it.

Source: Kwon et al. (2023), section 4.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from lecture_lib.fields import whole


class OutOfBlocks(MemoryError):
    """No block is free, and none can be made free."""


def prefix_hashes(ids: list[int], block_size: int, before: bytes = b"") -> list[bytes]:
    """Hash every full block of a text together with all that stands before it: h_i = H(h_{i-1}, tokens of block i).

    Equal hashes mean equal texts up to there. A block of another text with the same tokens after another beginning has another
    hash, because its keys and values are others.

    Args:
        ids: N tokens.
        block_size: tokens in a block.
        before: the hash of what stands before these tokens; empty at the beginning of a text.

    Returns:
        N // block_size hashes, one for each full block.

    Example:
        >>> a, b = prefix_hashes([1, 2, 3, 4, 5], 2), prefix_hashes([9, 9, 3, 4], 2)
        >>> len(a), a[1] == b[1]
        (2, False)
    """
    hashes = []
    for start in range(0, len(ids) - block_size + 1, block_size):
        tokens = ",".join(map(str, ids[start : start + block_size]))
        before = hashlib.sha256(before + tokens.encode()).digest()
        hashes.append(before)
    return hashes


def beginning(adapter: str | None) -> bytes:
    """What a chain of hashes begins with: another one for each adapter, which computes other keys and values."""
    return b"" if adapter is None else hashlib.sha256(adapter.encode()).digest()


class BlockPool:
    """Who holds which block: a count for each, a line of free ones, and the full ones by hash.

    A block that nobody holds keeps its content until its place is needed: the one unused for longest goes first.

    Args:
        n_blocks: how many there are.

    Example:
        >>> pool = BlockPool(3)
        >>> a = pool.take(); pool.share(a); pool.give_back(a); pool.n_free
        2
    """

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = whole("n_blocks", n_blocks, 1)
        self.counts = [0] * self.n_blocks
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(
            range(self.n_blocks)
        )  # unused for longest first
        self.by_hash: dict[bytes, int] = {}
        self.hash_of: dict[int, bytes] = {}

    @property
    def n_free(self) -> int:
        """Number of blocks that can be taken."""
        return len(self.free)

    def take(self) -> int:
        """Take a block for oneself; what it held is forgotten. `OutOfBlocks` if there is none."""
        if not self.free:
            raise OutOfBlocks(f"all {self.n_blocks} blocks are in use")
        block, _ = self.free.popitem(last=False)
        known = self.hash_of.pop(block, None)
        if known is not None:
            del self.by_hash[known]
        self.counts[block] = 1
        return block

    def share(self, block: int) -> None:
        """Hold a block that somebody holds, or that still has its content."""
        self.free.pop(block, None)
        self.counts[block] += 1

    def give_back(self, block: int) -> None:
        """Hold it no longer. A block that nobody holds is an error."""
        if self.counts[block] < 1:
            raise ValueError(f"block {block} is held by nobody")
        self.counts[block] -= 1
        if self.counts[block] == 0:
            self.free[block] = None
            if block not in self.hash_of:
                self.free.move_to_end(block, last=False)  # nothing worth keeping

    def remember(self, block: int, known: bytes) -> None:
        """Let a full block be found by the hash of its text; the first of several with the same text stays."""
        if known not in self.by_hash and block not in self.hash_of:
            self.by_hash[known], self.hash_of[block] = block, known

    def find(self, hashes: Sequence[bytes]) -> list[int]:
        """Blocks that hold the beginning of a text, as far as they are known."""
        found = []
        for known in hashes:
            if known not in self.by_hash:
                break
            found.append(self.by_hash[known])
        return found
