"""What fails on its way is tried again, and done once; what cannot be done is said."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from server.client.carry_out import carry_out
from server.client.connection import Answer, Connection, LostError
from server.client.control import Control, path_of
from server.client.folder import projects_in
from server.client.plan import plan_for
from server.client.problems import RefusedError, UnreachableError
from server.client.standing import standing_of
from tests.server.client.cutting import cutting, message_from
from tests.server.client.planes import Plane, burgee
from tests.server.client.test_folders import edit


def versions(control: Plane, environment: str) -> list[int]:
    return [each["version"] for each in control.json("history", environment)]


def test_a_publish_whose_answer_is_lost_is_done_once(control: Plane, imported: Path, tenant: str) -> None:
    with cutting(control.port, answers=2) as proxy:
        result = burgee(
            *("publish", f"{tenant}/web/production", "--json", "--retry-for", "60"),
            **{"control": f"http://127.0.0.1:{proxy.port}", "admin_key": control.key},
        )
    assert result.exit_code == 0, result.output
    assert len(proxy.lost) == 2
    assert b"HTTP/1.1 20" in proxy.lost[0] and b"Idempotency-Replayed: true" in proxy.lost[1]
    assert json.loads(result.stdout)["version"] == 2
    assert versions(control, f"{tenant}/web/production") == [2, 1]


def test_an_apply_whose_answers_are_lost_is_done_once(control: Plane, imported: Path, tenant: str) -> None:
    edit(imported, "new: one-page", "new: two-pages")
    for method in (b"PUT", b"POST"):
        with cutting(control.port, method=method) as proxy:
            result = burgee(
                *("apply", imported, "--publish", "*", "--json", "--retry-for", "60"),
                **{"control": f"http://127.0.0.1:{proxy.port}", "admin_key": control.key},
            )
        assert result.exit_code == 0, result.output
        assert len(proxy.lost) == 1
        edit(imported, "new: two-pages", "new: three-pages") if method == b"PUT" else None
    assert versions(control, f"{tenant}/web/production") == [3, 2, 1]
    assert control.burgee("diff", imported).exit_code == 0


def test_a_flag_whose_answer_is_lost_is_set(control: Plane, imported: Path, tenant: str) -> None:
    """One that is new, and one that is replaced: done by the request whose answer was lost, and seen to be."""
    for value in ("true", "false"):
        with cutting(control.port, method=b"PUT") as proxy:
            result = burgee(
                *("flags", "set", f"{tenant}/web", "fresh", "-", "--retry-for", "60"),
                stdin=f'{{"type": "boolean", "variants": {{"on": {value}}}, "fallthrough": "on"}}',
                **{"control": f"http://127.0.0.1:{proxy.port}", "admin_key": control.key},
            )
        assert result.exit_code == 0, result.output
        assert len(proxy.lost) == 1 and b"HTTP/1.1 20" in proxy.lost[0]
    assert control.json("flags", "get", f"{tenant}/web", "fresh")["flag"]["variants"] == {"on": False}


def test_what_somebody_else_did_meanwhile_is_not_taken_for_ours(control: Plane, imported: Path, tenant: str) -> None:
    """The answer is lost, and before it is asked again another makes something else of the flag."""
    path = path_of("tenants", tenant, "projects", "web", "flags", "banner")
    ours, theirs = ({"type": "boolean", "variants": {"on": value}, "fallthrough": "on"} for value in (True, False))
    with Control(Connection(control.url), control.key) as client:
        seen = client.get(path)
        lost: list[str] = []

        class Losing(Connection):
            def send(
                self, method: str, target: str, headers: dict[str, str], body: bytes | None, **more: float
            ) -> Answer:
                answer = super().send(method, target, headers, body, **more)
                if method == "PUT" and not lost:
                    lost.append(target)
                    client.put(path, theirs, etag=answer.headers["etag"])
                    raise LostError("cut")
                return answer

        with Control(Losing(control.url), control.key) as losing, pytest.raises(RefusedError) as refused:
            losing.put(path, ours, etag=seen.etag)
        assert lost and refused.value.status == 412
        assert client.get(path).body == theirs


def test_a_delete_whose_answer_is_lost_is_done(control: Plane, imported: Path, tenant: str) -> None:
    with cutting(control.port, method=b"DELETE") as proxy:
        result = burgee(
            *("flags", "delete", f"{tenant}/web", "banner", "--retry-for", "60"),
            **{"control": f"http://127.0.0.1:{proxy.port}", "admin_key": control.key},
        )
    assert result.exit_code == 0, result.output
    assert len(proxy.lost) == 1


def test_a_key_whose_answer_is_lost_is_not_shown_twice(control: Plane, imported: Path, tenant: str) -> None:
    """The secret is in the first answer only; the command says which key to revoke."""
    with cutting(control.port) as proxy:
        result = burgee(
            *("keys", "new", "--tenant", tenant, "--kind", "admin", "--role", "viewer", "--retry-for", "60"),
            **{"control": f"http://127.0.0.1:{proxy.port}", "admin_key": control.key},
        )
    listed = control.json("keys", "list", "--tenant", tenant)
    assert len(listed) == 1
    assert result.exit_code == 3 and listed[0]["selector"] in result.stderr and "revoke" in result.stderr


def test_a_control_plane_that_comes_late_is_waited_for(control: Plane) -> None:
    """Nobody listens at first, as while it is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done: list[object] = []

    def ask() -> None:
        done.append(
            burgee("tenants", "list", "--retry-for", "60", control=f"http://127.0.0.1:{port}", admin_key=control.key)
        )

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(60)
        caller, _ = listener.accept()
        caller.close()  # and an answer is lost
        caller, _ = listener.accept()
        with caller:
            caller.recv(65536)
            caller.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        caller, _ = listener.accept()
        with caller, socket.create_connection(("127.0.0.1", control.port)) as server:
            server.sendall(message_from(caller))
            caller.sendall(message_from(server))
    asking.join(60)
    assert getattr(done[0], "exit_code", None) == 0, done


def test_unreachable() -> None:
    key = "burgee_admin_" + "0" * 16 + "_" + "0" * 49
    result = burgee("tenants", "list", "--retry-for", "0.3", control="http://127.0.0.1:1", admin_key=key)
    assert result.exit_code == 3
    assert "http://127.0.0.1:1 cannot be reached: connection refused (hint:" in result.stderr
    as_json = burgee("tenants", "list", "--json", "--retry-for", "0", control="http://127.0.0.1:1", admin_key=key)
    assert as_json.exit_code == 3 and json.loads(as_json.stdout)["ok"] is False


def test_wrong_key(control: Plane) -> None:
    wrong = control.key[:-6] + "000000"
    result = control.burgee("tenants", "list", admin_key=wrong)
    assert result.exit_code == 3 and "the key is not valid (hint:" in result.stderr
    assert wrong not in result.output
    secret = control.burgee("tenants", "list", admin_key="hunter2")
    assert secret.exit_code == 3 and "BURGEE_ADMIN_KEY: not a key" in secret.stderr and "hunter2" not in secret.output


def test_the_key_of_a_server_here_stays_here(control: Plane, tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text(control.key + "\n")
    here = burgee("tenants", "list", "--state", tmp_path, control=control.url, admin_key="")
    assert here.exit_code == 0, here.output
    for elsewhere in ("http://192.0.2.1:8082", "http://127.0.0.1.example:8082", "https://flags.example"):
        result = burgee("tenants", "list", "--state", tmp_path, "--retry-for", "0", control=elsewhere, admin_key="")
        assert result.exit_code == 3 and "is for a control plane on this machine" in result.stderr
    none = burgee("tenants", "list", "--state", tmp_path / "none", control=control.url, admin_key="")
    assert none.exit_code == 3 and "there is no admin key" in none.stderr


def test_key_file(control: Plane, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(control.key + "\n")
    assert control.burgee("tenants", "list", "--key-file", file, admin_key="").exit_code == 0
    missing = control.burgee("tenants", "list", "--key-file", tmp_path / "other")
    assert missing.exit_code == 3 and "no such file" in missing.stderr


class Refusing(Connection):
    """Its first answer is lost, and what comes then is still being done, so often."""

    def __init__(self, url: str, times: int) -> None:
        super().__init__(url)
        self.times = times
        self.timeouts: list[float] = []

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes | None, **more: float) -> Answer:
        self.timeouts.append(more["timeout"])
        if len(self.timeouts) == 1:
            super().send(method, target, headers, body, **more)
            raise LostError("cut")
        if self.times:
            self.times -= 1
            problem = b'{"type": "urn:burgee:problem:in-flight"}'
            return Answer(409, {"content-type": "application/problem+json"}, problem)
        return super().send(method, target, headers, body, **more)


def test_what_is_still_being_done_is_asked_for_again(control: Plane, imported: Path, tenant: str) -> None:
    path = f"{path_of('tenants', tenant, 'projects', 'web', 'environments', 'production')}/publish"
    connection = Refusing(control.url, 2)
    with Control(connection, control.key, retry_for=60) as client:
        assert client.post(path, {}, etag='"1"', query={"wait": 40}).body["version"] == 2
    assert connection.timeouts == [100.0] * 4  # it may take what was asked for, and a minute
    with Control(Refusing(control.url, 1), control.key, retry_for=0) as client, pytest.raises(UnreachableError):
        client.post(path, {}, etag='"2"')


def test_what_somebody_saves_meanwhile_is_not_published(control: Plane, imported: Path, tenant: str) -> None:
    """After the plan was made, before it is carried out; where there is nothing to edit, too."""
    (project,) = projects_in(imported)
    with Control(Connection(control.url), control.key) as client:
        control.json("flags", "delete", f"{tenant}/web", "banner")
        assert client.find(path_of("tenants", tenant)) is not None
        standing = standing_of(client, project.id)
        plan = plan_for(replace(project, document=standing.working), standing, publish=("production",))
        assert plan.publish and not plan.edit
        control.json("flags", "delete", f"{tenant}/web", "checkout")
        done: dict[str, int] = {}
        with pytest.raises(RefusedError) as refused:
            carry_out(client, plan, standing, done, message="")
        assert (refused.value.status, done) == (412, {})


def test_a_stale_publish_is_refused(control: Plane, imported: Path, tenant: str) -> None:
    control.json("publish", f"{tenant}/web/production")
    result = control.burgee("publish", f"{tenant}/web/production", "--if-version", "1")
    assert result.exit_code == 3 and "changed meanwhile" in result.stderr and "2" in result.stderr
    assert versions(control, f"{tenant}/web/production") == [2, 1]


def test_a_document_that_was_changed_meanwhile_is_not_overwritten(control: Plane, imported: Path, tenant: str) -> None:
    with Control(Connection(control.url), control.key) as client:
        path = path_of("tenants", tenant, "projects", "web", "document")
        seen = client.get(path)
        control.json("flags", "delete", f"{tenant}/web", "banner")
        with pytest.raises(RefusedError) as refused:
            client.put(path, seen.body, etag=seen.etag)
        assert refused.value.status == 412
        assert "banner" not in client.get(path).body["flags"]


def test_diagnostics_have_their_place_and_hint(control: Plane, imported: Path, tenant: str) -> None:
    """A flag that is no good where others are is refused by the control plane, with what the compiler says."""
    odd = '{"type": "boolean", "variants": {"on": true}, "fallthrough": "onn"}'
    made = control.burgee("flags", "set", f"{tenant}/web", "odd", "-", stdin=odd)
    result = made if made.exit_code else control.burgee("publish", f"{tenant}/web/production")
    assert result.exit_code == 3
    assert "flags.odd.fallthrough: error[B" in result.stderr and "did you mean `on`" in result.stderr
    as_json = control.burgee("flags", "set", f"{tenant}/web", "odd", "-", "--json", stdin=odd)
    if as_json.exit_code == 0:
        as_json = control.burgee("publish", f"{tenant}/web/production", "--json")
    assert json.loads(as_json.stdout)["problem"]["diagnostics"][0]["place"] == "flags.odd.fallthrough"


def test_what_is_no_control_plane() -> None:
    key = "burgee_admin_" + "0" * 16 + "_" + "0" * 49
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = burgee("tenants", "list", control=url, admin_key=key)
        thread.join(60)
    assert result.exit_code == 3 and "is this the address of a control plane?" in result.stderr
    for url in ("ftp://x", "127.0.0.1:8082", "http://", "http://[", "http://x:y"):
        odd = burgee("tenants", "list", control=url, admin_key=key)
        assert odd.exit_code == 3 and "is not the address of a control plane" in odd.stderr


def test_places_are_checked_before_anything_is_asked() -> None:
    for arguments in (("history", "shop/web"), ("publish", "shop"), ("flags", "list", "a/b/c"), ("pause", "a//b")):
        result = burgee(*arguments, control="http://127.0.0.1:1", admin_key="")
        assert result.exit_code == 2, result.output
