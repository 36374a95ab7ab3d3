"""A package index (PEP 503) on loopback."""

import base64
import contextlib
import functools
import hashlib
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class _Handler(SimpleHTTPRequestHandler):
    """Serves its folder to everybody, or to whom it knows (HTTP basic authentication)."""

    def __init__(self, *args, known="", **kwargs):
        self._known = known
        super().__init__(*args, **kwargs)

    def send_head(self):
        expected = "Basic " + base64.b64encode(self._known.encode()).decode()
        if self._known and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def index(folder, name, version, known=""):
    """An index with one wheel; its address. `known` (`user:password`) is who may read it, by default everybody."""
    info = f"{name}-{version}.dist-info"
    file = folder / name.replace("_", "-") / f"{name}-{version}-py3-none-any.whl"
    file.parent.mkdir(parents=True)
    contents = {
        f"{name}.py": f"__version__ = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{path},sha256={_record(text)},{len(text)}\n" for path, text in contents.items()]
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": "".join([*lines, f"{info}/RECORD,,\n"])}.items():
            archive.writestr(path, text)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    (file.parent / "index.html").write_text(f'<a href="{file.name}#sha256={sha256}">{file.name}</a>')
    handler = functools.partial(_Handler, directory=str(folder), known=known)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _record(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
