"""A service that exists already, in aiohttp, gets WebSockets beside it: one loop, two ports.

python examples/embedding/service.py --port 8080 --sockets 8081
curl -d "it is raining" http://127.0.0.1:8080/announce
"""

import argparse
import asyncio
import signal

from aiohttp import web

from wsgroups import Handle, HandlerStatus, Request, serve

# --- what there was before ------------------------------------------------------------------


def service() -> web.Application:
    """Return the service; announcing is new."""
    app = web.Application()
    app.router.add_post("/announce", announce)
    return app


async def announce(request: web.Request) -> web.Response:
    """Send what was posted to everybody who listens, and say how many those are."""
    reached = handle.group("news").send(await request.text())
    return web.json_response({"reached": reached})


# --- what is new ------------------------------------------------------------------------------

handle = Handle(origins="*")  # pages come from the service's port, which is another origin


@handle.get("/news")
def listen(request: Request) -> HandlerStatus:
    """Upgrade into a group that only listens."""
    request.require_upgrade()
    request.send_upgrade("news")
    return HandlerStatus.HANDLED


async def main(port: int, sockets: int) -> None:
    """Serve both until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(service())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
        async with serve(handle, port=sockets) as server:
            http = runner.addresses[0][1]
            print(f"http://127.0.0.1:{http}/announce reaches {server.ws_url}/news", flush=True)
            await stopping.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="of the service")
    parser.add_argument("--sockets", type=int, default=8081, help="of the WebSockets")
    options = parser.parse_args()
    asyncio.run(main(options.port, options.sockets))
