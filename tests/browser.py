"""A real browser, driven through its own protocol: what a page logs, and what its keys reach."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_SECONDS = 120


@dataclass(slots=True)
class Browser:
    """One page of a headless browser.

    Attributes:
        logged: Whatever was written to the console, errors and violated policies included.
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    logged: list[str] = field(default_factory=list)
    _next: int = 0

    async def send(self, method: str, **params: object) -> dict[str, Any]:
        """Do something and wait for its result; what is logged meanwhile is kept."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        await self.socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        while True:
            found = await self.socket.receive_json(timeout=_SECONDS)
            if found.get("id") == self._next:
                assert "error" not in found, found
                result: dict[str, Any] = found["result"]
                return result
            if found.get("method") in {"Log.entryAdded", "Runtime.consoleAPICalled"}:
                self.logged.append(str(found["params"]))

    async def open(self, page: Path) -> None:
        """Show a file."""
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self.session = attached["sessionId"]
        for domain in ("Log", "Runtime", "Page"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=page.resolve().as_uri())
        while await self.value("document.readyState") != "complete":
            await asyncio.sleep(0.02)

    async def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Start a browser that keeps its files in a folder, and end it."""
    assert CHROMIUM is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run")
    options += ("--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1366,768")
    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen([CHROMIUM, *options], stdout=log, stderr=log)
        try:
            address = await _address(folder, process)
            async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait()


async def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens; it writes this down once it does."""
    port_file, until = folder / "DevToolsActivePort", time.monotonic() + _SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "browser.log").read_text()
        lines = port_file.read_text().split() if port_file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.05)
    raise AssertionError("the browser does not listen")
