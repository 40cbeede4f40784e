"""64 threads, 10,000 sends by id each, while sockets come and go."""

import asyncio
import json
import random
import sys
import threading
from pathlib import Path

from wsgroups import Handle, HandlerStatus, Request, SendResult, WebSocket, serve

THREADS = 64
SENDS = 10_000  # each
STABLE = 32
ROOT = Path(__file__).parents[2]


class Storm:
    """The application, and the threads that send into it."""

    def __init__(self) -> None:
        # The peers read all the time, but not always at once; what is tested is the way there.
        self.handle = Handle(write_limit=64 << 20)
        self.stable: dict[int, int] = {}
        self.passing: list[int] = []
        self.sent = [[0] * STABLE for _ in range(THREADS)]
        self.refused: list[SendResult] = []

        @self.handle.get("/stable/{number:int}")
        def enter(request: Request, number: int) -> HandlerStatus:
            self.stable[number] = request.send_upgrade("storm").id
            return HandlerStatus.HANDLED

        @self.handle.get("/passing")
        def pass_by(request: Request) -> HandlerStatus:
            ws = request.send_upgrade("storm")
            ws.send("hello")
            self.passing.append(ws.id)
            return HandlerStatus.HANDLED

    def send(self, thread: int) -> None:
        """One thread's share: every fifth message goes to a socket that may be gone."""
        choose = random.Random(thread)
        sent = self.sent[thread]
        for number in range(SENDS):
            if number % 5 == 0 and self.passing:
                WebSocket(choose.choice(self.passing[-20:])).send("x")
                continue
            socket = choose.randrange(STABLE)
            result = WebSocket(self.stable[socket]).send(f"{thread} {sent[socket]}")
            if result > SendResult.BUFFERED:
                self.refused.append(result)
            else:
                sent[socket] += 1

    def send_all(self) -> None:
        """Run all threads, then tell every stable socket that this was all."""
        threads = [threading.Thread(target=self.send, args=(i,)) for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for id in self.stable.values():
            WebSocket(id).send("end")


async def test_nothing_is_lost_doubled_or_out_of_a_threads_order() -> None:
    storm = Storm()
    async with serve(storm.handle, port=0, drain_timeout=2.0) as server:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.stress.storm_client",
            str(server.port),
            str(STABLE),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdout is not None
        assert await client.stdout.readline() == b"ready\n"
        await asyncio.to_thread(storm.send_all)
        report, _ = await client.communicate()
    assert not storm.refused
    assert len(storm.passing) > 10
    received = json.loads(report)
    assert [peer["wrong"] for peer in received] == [[]] * STABLE
    for number, peer in enumerate(received):
        expected = {str(t): storm.sent[t][number] for t in range(THREADS)}
        assert peer["counts"] == {t: n for t, n in expected.items() if n}
