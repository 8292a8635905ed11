from rules.table import heading, tables


def test_every_part_is_there(protocol):
    by_title = {table.title: table for table in tables(protocol)}
    assert list(by_title) == [
        "Alertes",
        "Sans nouvelles",
        "Limites",
        "Calculs",
        "Questions",
        "Signaux",
        "Marques",
    ]
    assert by_title["Limites"].rows[0] == ("gain_kg", "prise de poids", "2 kg", "0,5 à 5 kg", "ESC", "S17")
    assert by_title["Limites"].rows[1][2::3] == ("à fixer", "G, à signer")
    assert by_title["Alertes"].rows[0][:2] == ("ROUGE", "congestion")
    assert by_title["Alertes"].rows[1][5] == "confirmée après 30\u00a0minutes"
    assert by_title["Alertes"].rows[1][2] == "gain"
    assert by_title["Calculs"].rows[0][3] == "rise, 3\u00a0jours"
    assert by_title["Questions"].rows[0][-1] == "non / un peu / beaucoup"


def test_each_mark_has_its_key(world, good, shipped):
    (keys,) = (table.rows for table in tables(world.loads(good)) if table.title == "Marques")
    assert [mark for mark, _ in keys] == ["D", "G", "S17"]
    assert dict(keys)["S17"] == "source que ce protocole ne cite pas"
    assert dict(keys)["D"].startswith("proposition de conception")
    cited = good.replace("[signals.weight]", '[sources]\nS17 = "ESC, Weight gain"\n\n[signals.weight]')
    (keys,) = (table.rows for table in tables(world.loads(cited)) if table.title == "Marques")
    assert keys[0] == ("S17", "ESC, Weight gain")
    every = tables(shipped)
    (key,) = (dict(table.rows) for table in every if table.title == "Marques")
    shown = {
        mark
        for table in every
        if "marque" in table.columns[1:]
        for row in table.rows
        for mark in row[-1].removesuffix(", à signer").split()
    }
    assert key.keys() == shown
    assert "source que ce protocole ne cite pas" not in key.values()


def test_a_rule_and_a_silence_are_called_by_their_titles(world, good):
    titled = good.replace('id = "gain"', 'id = "gain"\ntitle = "Prise"').replace(
        'id = "no_weight"', 'id = "no_weight"\ntitle = "Aucun poids"'
    )
    by_title = {table.title: table for table in tables(world.loads(titled))}
    assert by_title["Alertes"].rows[1][2] == "Prise (gain)"
    assert by_title["Sans nouvelles"].rows[0][0] == "Aucun poids (no_weight)"


def test_rows_have_a_cell_for_each_column_on_one_line(shipped):
    for table in tables(shipped):
        for row in table.rows:
            assert len(row) == len(table.columns)
            assert not any("\n" in cell for cell in row)


def test_heading_says_who_answers_for_it(shipped):
    assert shipped.hash in heading(shipped)[1]
    assert heading(shipped)[2].startswith("Non signé")


def test_no_rule_limit_or_silence_is_left_out(shipped):
    cells = {cell for table in tables(shipped) for row in table.rows for cell in row}
    for name in (
        *(f"{r.title} ({r.id})" for r in shipped.rules),
        *shipped.limits,
        *shipped.features,
        *(f"{s.title} ({s.id})" for s in shipped.non_transmission),
    ):
        assert name in cells
