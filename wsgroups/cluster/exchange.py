"""Who is on a bus and who asks for what: the part that the hub and the in-process bus share."""

from __future__ import annotations

from threading import RLock
from typing import Protocol

from wsgroups.cluster import frames
from wsgroups.cluster.bus import is_visitor


class Member(Protocol):
    """One worker or visitor, as the exchange sees it.

    Attributes:
        address: its own alone.
        since: the id sequence that it began above.
    """

    address: int
    since: int

    def put(self, frame: bytes) -> None:
        """Pass a message on to it."""

    def tell(self, frame: bytes) -> None:
        """Tell it something that must not be dropped."""


class Exchange:
    """Passes frames on. From any thread: what is read without a lock is replaced, never changed."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self._channels: dict[bytes, tuple[Member, ...]] = {}
        self._asking: set[Member] = set()  # whoever has asked for something, once
        self._lock = RLock()

    def join(self, member: Member) -> bool:
        """Take somebody in, and tell who is there; False when the address is taken.

        Everybody is told of the workers, nobody of visitors: those may come and go by the thousand.
        """
        with self._lock:
            if member.address in self.members:
                return False
            others = list(self.members.values())
            self.members[member.address] = member
        for other in others:
            if not is_visitor(other.address):
                member.tell(frames.peer(other.address, other.since))
            if not is_visitor(member.address):
                other.tell(frames.peer(member.address, member.since))
        return True

    def leave(self, member: Member) -> None:
        """Forget somebody and what it has asked for; of a worker the others are told."""
        with self._lock:
            if self.members.get(member.address) is not member:
                return
            del self.members[member.address]
            if member in self._asking:  # visitors never do: their leaving costs nothing
                self._forget_channels(member)
            others = [] if is_visitor(member.address) else list(self.members.values())
        for other in others:
            other.tell(frames.gone(member.address))

    def subscribe(self, member: Member, channel: bytes) -> None:
        """Have a worker get what others publish on a channel."""
        with self._lock:
            self._asking.add(member)
            asking = self._channels.get(channel, ())
            if member not in asking:
                self._channels[channel] = (*asking, member)

    def unsubscribe(self, member: Member, channel: bytes) -> None:
        """Have it get no more of that."""
        with self._lock:
            self._without(channel, member)

    def _forget_channels(self, member: Member) -> None:
        self._asking.discard(member)
        for channel in [c for c, asking in self._channels.items() if member in asking]:
            self._without(channel, member)

    def _without(self, channel: bytes, member: Member) -> None:
        left = tuple(each for each in self._channels.get(channel, ()) if each is not member)
        if left:
            self._channels[channel] = left
        else:
            self._channels.pop(channel, None)

    def channels_of(self, member: Member) -> int:
        """Return how many channels a worker asks for."""
        with self._lock:
            return sum(member in asking for asking in self._channels.values())

    def send(self, frame: bytes) -> None:
        """Pass a SEND frame on to its destination, if that is here."""
        member = self.members.get(frames.address_of(frame))
        if member is not None:
            member.put(frame)

    def publish(self, sender: Member, frame: bytes) -> None:
        """Pass a PUBLISH frame on to all who ask for its channel but the sender."""
        for member in self._channels.get(frames.channel_of(frame)[0], ()):
            if member is not sender:
                member.put(frame)
