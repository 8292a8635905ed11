"""The pages on each database: every page answers, a line goes from the queue to its end, a new one is heard of."""

from triage.work import lists


def test_a_line_from_the_queue_to_its_end(url, tmp_path, serve):
    with serve(url, tmp_path) as site:
        episode, more = site.opened("P1"), [site.opened("P3", "ORANGE", problem=f"x{i}") for i in range(2)]
        with site.client("marie") as client, site.client("admin") as admin:
            for path in (
                "/file",
                "/file?q=P1",
                "/file?niveau=rouge&programme=insuffisance_cardiaque",
                "/file/moi",
            ):
                assert client.get(path).status_code == 200, path
            mark = lists.newest(site.queue.engine)
            assert site.move(client, episode, "prendre").status_code == 303
            assert site.move(client, episode, "appel", outcome="no_answer").status_code == 303
            assert site.move(client, episode, "cloture", reason="advice", text="é « ’ »").status_code == 303
            bulk = {"csrf": site.csrf(client), "faire": "cloture", "alerte": more, "reason": "equipment"}
            assert "2 sur 2" in client.post("/alertes/groupe/faire", data=bulk).text
            site.opened("P4")
            counts = client.get(f"/live/counts?vue=a-traiter&depuis={mark}").json()
            assert (counts["new"], counts["rouge"]) == (1, 1)
            for path in ("/patients/P1", "/file/cloturees", "/cellule", "/cellule.csv", "/releve", "/compte"):
                assert client.get(path).status_code == 200, path
            assert "é « ’ »" in client.get("/patients/P1").text
            entry = {"csrf": site.csrf(client), "weight": "82,4"}
            assert client.post("/patients/P1/saisie", data=entry).status_code == 303
            for path in (
                "/administration/comptes",
                "/administration/cellules",
                "/administration/sources",
                "/administration/journal?sujet=P1",
                "/administration/protocoles",
            ):
                assert admin.get(path).status_code == 200, path
            made = {"csrf": site.csrf(admin), "name": "julie", "role": "nurse", "cell": "Nord"}
            assert "Mot de passe provisoire" in admin.post("/administration/comptes", data=made).text
