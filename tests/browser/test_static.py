"""What runs in the browser, on sample pages: the contract that the application's templates take over."""

import re

import pytest
from playwright.sync_api import expect
from site_of_samples import Site
from waiting import has_been_asked, live, wait_until

# 25 mm of CSS.
SECOND_PX = 25 * 96 / 25.4
LIVE = {"queue", "patient", "form", "samu"}
CUT = "Failed to load resource"
PAGES = {
    "queue": "/file",
    "patient": "/patients/pa1",
    "questionnaire": "/questionnaire",
    "sign-in": "/connexion",
    "form": "/alertes/a1/cloture",
    "samu": "/patients/pa1/samu",
}


@pytest.fixture
def site():
    served = Site()
    yield served
    served.close()


def rows(page):
    return page.locator("#queue tbody tr").evaluate_all("rows => rows.map(row => row.dataset.row)")


def focused(page):
    return page.evaluate("document.activeElement.closest('[data-row]')?.dataset.row ?? null")


def focus_comes_to(page, row):
    page.wait_for_function(
        "row => document.activeElement.closest('[data-row]')?.dataset.row === row", arg=row
    )


def ink(page, selector):
    """Count the colours of a canvas: one is blank paper."""
    return page.locator(selector).evaluate(
        """canvas => {
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )


def complete(page, name):
    """Wait for what a page writes after it was loaded: it may not be what is too wide or too pale."""
    if name in LIVE:
        live(page)
    if name == "patient":
        drawn(page)


def drawn(page):
    """Wait for the curves and the strip of the patient page."""
    expect(page.locator(".plot canvas")).to_have_count(2)
    expect(page.locator(".ecg-where")).to_contain_text("Rythme sinusal")


# ------------------------------------------------------------------------------------------------ every page


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible(site, page, axe, shot, name):
    opened = page(site.address + PAGES[name])
    complete(opened, name)
    if name == "patient":
        opened.locator("details.why").evaluate("details => details.open = true")
    axe(opened, dark=True)
    shot(opened, f"{name}-light", full_page=True)
    opened.emulate_media(color_scheme="dark")
    shot(opened, f"{name}-dark", full_page=True)


@pytest.mark.parametrize("name", PAGES)
def test_page_of_360_pixels_scrolls_down_only(site, page, axe, shot, name):
    opened = page(site.address + PAGES[name], width=360, height=740, has_touch=True)
    complete(opened, name)
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    small = opened.evaluate(
        """() => [...document.querySelectorAll("button, .btn, .choice, summary, input, nav a")]
          .map(e => e.closest(".choice, .tick") ?? e)
          .filter(e => e.checkVisibility() && e.type !== "radio" && e.type !== "hidden")
          .filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML.slice(0, 100))"""
    )
    assert not small, "a finger needs 44 px"
    axe(opened)
    shot(opened, f"{name}-360", full_page=True)


def test_axe_would_find_what_is_wrong_in_the_dark(site, page, axe):
    opened = page(site.address + "/connexion", forgive="Content Security Policy")
    axe(opened, dark=True)
    opened.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync("@media (prefers-color-scheme: dark) { label { color: #333; background: #222; } }");
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    with pytest.raises(AssertionError, match="color-contrast"):
        axe(opened, dark=True)


def test_axe_would_find_what_is_wrong(site, page, axe):
    opened = page(site.address + "/questionnaire")
    opened.evaluate("document.querySelector('#temperature').removeAttribute('id')")
    with pytest.raises(AssertionError, match="label"):
        axe(opened)


def test_what_the_policy_forbids_is_an_error_of_the_page(site, page):
    heard = []
    opened = page(forgive="Content Security Policy")
    opened.on("console", lambda message: heard.append(message.text))
    opened.goto(site.address + "/file")
    opened.evaluate("document.body.setAttribute('style', 'color: red')")
    opened.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")

    def refused():
        return sum("Content Security Policy" in text for text in heard)

    wait_until(opened, lambda: refused() >= 2)
    assert refused() == 2


@pytest.mark.parametrize("name", ["queue", "samu"])
def test_print_leaves_out_what_is_for_the_screen(site, page, shot, name):
    opened = page(site.address + PAGES[name])
    opened.emulate_media(media="print")
    for selector in (".top", ".side", ".banners", "#toasts", ".actions"):
        expect(opened.locator(selector).first).not_to_be_visible()
    expect(opened.locator("h1")).to_be_visible()
    shot(opened, f"{name}-print", full_page=True)


def test_without_scripts_a_row_is_taken_by_its_form(site, page):
    opened = page(site.address + "/file", javascript=False)
    for hidden in ("#new", "#lost", "#link", "#sound", "#help-open"):
        expect(opened.locator(hidden)).not_to_be_visible()
    opened.locator("#e-a1 button", has_text="Prendre").click()
    expect(opened.locator("#e-a1 .state-line")).to_have_text(re.compile(r"Prise\s+par vous"))
    expect(opened.locator("#e-a1 button")).to_have_count(0)


# --------------------------------------------------------------------------------------------------- keyboard


def test_keys_go_through_the_queue(site, page):
    opened = page(site.address + "/file")
    live(opened)
    for key, row in [("j", "a1"), ("j", "b2"), ("j", "c3"), ("k", "b2"), ("k", "a1"), ("k", "a1")]:
        opened.keyboard.press(key)
        assert focused(opened) == row
    opened.keyboard.press("Enter")
    expect(opened).to_have_url(re.compile("/patients/pa1$"))


def test_p_takes_the_row_with_the_focus_and_keeps_it(site, page):
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("j")
    opened.keyboard.press("p")
    expect(opened.locator("#e-a1 .state-line")).to_have_text(re.compile(r"Prise\s+par vous"))
    focus_comes_to(opened, "a1")
    opened.keyboard.press("j")
    assert focused(opened) == "b2"
    # It is somebody else's: there is nothing to take.
    opened.keyboard.press("p")
    has_been_asked(opened)
    assert site.asked.count("/alertes/b2/prendre") == 0


def test_p_takes_nothing_where_no_row_has_the_focus(site, page):
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("p")
    opened.keyboard.press("j")
    assert focused(opened) == "a1"
    has_been_asked(opened)
    assert not [path for path in site.asked if path.endswith("/prendre")]


@pytest.mark.parametrize(("key", "path"), [("a", "/alertes/b2/appel"), ("c", "/alertes/b2/cloture")])
def test_a_calls_and_c_closes(site, page, key, path):
    opened = page(site.address + "/file", forgive=CUT)
    live(opened)
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    opened.keyboard.press(key)
    expect(opened).to_have_url(site.address + path)


def test_p_on_the_patient_page_takes_its_alert(site, page):
    opened = page(site.address + "/patients/pa1")
    live(opened)
    opened.keyboard.press("p")
    expect(opened).to_have_url(re.compile("/file$"))
    assert site.rows["a1"]["state"] == "claimed"


def test_keys_do_nothing_while_one_types(site, page):
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("j")
    opened.keyboard.press("/")
    search = opened.get_by_role("searchbox")
    expect(search).to_be_focused()
    opened.keyboard.type("jp?/car")
    expect(search).to_have_value("jp?/car")
    expect(opened.locator("#help")).not_to_be_visible()
    opened.keyboard.press("Escape")
    opened.keyboard.press("j")
    assert focused(opened) == "b2"
    opened.keyboard.press("Control+p")
    has_been_asked(opened)
    assert not [path for path in site.asked if path.endswith("/prendre")]


def test_several_rows_at_once(site, page, axe, shot):
    opened = page(site.address + "/file", forgive=CUT)
    live(opened)
    bulk = opened.locator("#bulk")
    expect(bulk).not_to_be_visible()
    before = opened.locator("#e-b2").bounding_box()
    for key in ("j", "x", "j", "x"):
        opened.keyboard.press(key)
    expect(bulk).to_be_visible()
    assert opened.locator("#e-b2").bounding_box() == before
    counted = opened.locator(".bulk-count").evaluate("e => getComputedStyle(e, '::before').content")
    assert "counter(ticked)" in counted
    axe(opened)
    shot(opened, "bulk")
    bulk.get_by_role("button", name="Annuler").click()
    expect(bulk).not_to_be_visible()
    opened.locator("#e-c3 input").check()
    # A box that is ticked takes no letters: the keys go on.
    opened.keyboard.press("j")
    assert focused(opened) == "d4"
    with opened.expect_request("**/alertes/groupe") as sent:
        bulk.get_by_role("button", name="Prendre").click()
    assert sent.value.post_data == "alerte=c3&faire=prendre"


def test_help_is_a_dialog_that_holds_the_keys(site, page, axe, shot):
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("?")
    expect(opened.locator("#help")).to_be_visible()
    axe(opened)
    shot(opened, "help")
    opened.keyboard.press("j")
    assert focused(opened) is None
    opened.keyboard.press("Escape")
    expect(opened.locator("#help")).not_to_be_visible()
    opened.keyboard.press("j")
    assert focused(opened) == "a1"


# ------------------------------------------------------------------------------------------------ live events


def test_new_alerts_wait_until_they_are_asked_for(site, page, axe, shot):
    opened = page(site.address + "/file")
    live(opened)
    before = opened.locator("#e-b2").bounding_box()
    site.rows = {"z9": site.rows["a1"] | {"id": "z9", "name": "M. NOUVEAU Paul"}} | site.rows
    site.send("queue", {"new": 3, "rouge": 1, "counts": {"rouge": 2, "waiting": 8}})
    banner = opened.locator("#new")
    expect(banner).to_have_text("▲ 1 ROUGE et 2 autres – afficher")
    expect(opened.locator("#announce")).to_have_text("1 nouvelle alerte ROUGE")
    expect(opened.locator('.counts [data-count="rouge"]')).to_have_text("2")
    expect(opened.locator('.tabs [data-count="waiting"]')).to_have_text("8")
    assert opened.title().startswith("(▲3)")
    assert rows(opened)[0] == "a1"
    assert opened.locator("#e-b2").bounding_box() == before, "no row moves under the pointer"
    axe(opened)
    shot(opened, "new-rouge")
    opened.keyboard.press("j")
    opened.keyboard.press("r")
    expect(opened.locator("#e-z9")).to_be_visible()
    assert rows(opened)[:2] == ["z9", "a1"]
    expect(banner).not_to_be_visible()
    focus_comes_to(opened, "a1")
    assert not opened.title().startswith("(")


def test_new_orange_is_not_announced(site, page):
    opened = page(site.address + "/file")
    live(opened)
    site.send("queue", {"new": 1, "rouge": 0})
    expect(opened.locator("#new")).to_have_text("1 nouvelle alerte – afficher")
    # What is announced is written by a timer of 50 ms: one that begins later and is longer ends after it.
    opened.evaluate("() => new Promise(done => setTimeout(done, 100))")
    expect(opened.locator("#announce")).to_be_empty()
    opened.locator("#new").click()
    expect(opened.locator("#new")).not_to_be_visible()


def test_a_row_moved_by_another_changes_in_place(site, page):
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("j")
    opened.locator("#e-a1 summary").click()
    opened.locator("#e-a1 .patient").focus()
    order = rows(opened)
    html = site.row("a1", state="claimed", state_word="Prise", who="par Karim B.")
    site.send("moved", {"episode": "a1", "html": html})
    expect(opened.locator("#e-a1 .who")).to_have_text("par Karim B.")
    expect(opened.locator("#e-a1 button")).to_have_count(0)
    assert rows(opened) == order
    assert focused(opened) == "a1"
    assert opened.locator("#e-a1 details.phone").evaluate("details => details.open")
    expect(opened.locator("#e-a1 [data-due-ms]")).to_have_text(re.compile(r"^\d+ min \d\d s$"))


def test_a_row_that_comes_by_an_event_can_be_acted_on(site, page):
    """The library must know the buttons of a row that was not in the page."""
    opened = page(site.address + "/file")
    live(opened)
    site.send("moved", {"episode": "a1", "html": site.row("a1", sentence="SpO₂ 85 %")})
    expect(opened.locator("#e-a1 .sentence")).to_have_text("SpO₂ 85 %")
    opened.locator("#e-a1 button", has_text="Prendre").click()
    expect(opened.locator("#e-a1 .who")).to_have_text("par vous")
    expect(opened).to_have_url(site.address + "/file")


def test_a_row_that_is_gone_stays_where_it_was(site, page):
    opened = page(site.address + "/file")
    live(opened)
    site.send("moved", {"episode": "a1", "html": ""})
    expect(opened.locator("#e-a1")).to_have_class("gone")
    assert len(rows(opened)) == 5
    expect(opened.locator("#e-a1 button")).to_be_disabled()
    opened.keyboard.press("j")
    opened.keyboard.press("c")
    expect(opened).to_have_url(site.address + "/file")


def test_the_loser_of_a_click_sees_who_has_it(site, page):
    opened = page(site.address + "/file", forgive=CUT)
    live(opened)
    site.row("a1", state="claimed", state_word="Prise", who="par Karim B.")
    opened.locator("#e-a1 button", has_text="Prendre").click()
    expect(opened.locator("#e-a1 .who")).to_have_text("par Karim B.")


def test_an_action_that_failed_is_said(site, page, axe):
    opened = page(site.address + "/file", forgive=f"{CUT}|Response Status Error")
    live(opened)
    del site.rows["a1"]
    opened.route("**/prendre", lambda route: route.fulfill(status=500))
    opened.locator("#e-a1 button", has_text="Prendre").click()
    expect(opened.locator(".toast-error")).to_contain_text("Cela n’a pas été fait (erreur 500)")
    axe(opened)
    opened.get_by_role("button", name="Fermer le message").click()
    expect(opened.locator(".toast")).to_have_count(0)


def test_a_notice_is_a_message_that_is_read_out(site, page, shot):
    opened = page(site.address + "/file")
    live(opened)
    site.send("notice", {"text": "<b>Karim</b> vous a passé Mme DURAND"})
    expect(opened.get_by_role("status")).to_contain_text("<b>Karim</b> vous a passé Mme DURAND")
    shot(opened, "notice")


# ------------------------------------------------------------------------------------------------- connection


def test_a_lost_connection_is_shown_at_once_and_goes_when_it_is_back(site, page, axe, shot):
    opened = page(site.address + "/file", forgive=CUT)
    live(opened)
    site.cut()
    lost = opened.locator("#lost")
    expect(lost).to_have_text(re.compile(r"^Connexion perdue depuis \d:\d\d$"))
    expect(opened.locator("#link")).to_have_text("Hors ligne")
    expect(opened.locator("#announce")).to_contain_text("Connexion perdue")
    first = lost.text_content()
    expect(lost).not_to_have_text(first)
    axe(opened)
    shot(opened, "lost")
    # What came meanwhile is asked for when it is back.
    site.fresh = {"new": 2, "rouge": 0}
    site.counts["waiting"] = 7
    site.mend()
    expect(lost).not_to_be_visible()
    live(opened)
    expect(opened.locator("#new")).to_have_text("2 nouvelles alertes – afficher")
    expect(opened.locator('.tabs [data-count="waiting"]')).to_have_text("7")


def test_silence_on_an_open_connection_is_a_lost_one(site, page):
    site.heartbeat_s = 3600
    opened = page()
    # It goes on only when it is told to: twelve seconds are those of the page, however slow the machine.
    opened.clock.install(time=0)
    opened.clock.pause_at(1)
    opened.goto(site.address + "/file")
    live(opened)
    opened.clock.fast_forward(11_000)
    expect(opened.locator("#lost")).not_to_be_visible()
    opened.clock.fast_forward(2_000)
    expect(opened.locator("#lost")).to_have_text(re.compile(r"^Connexion perdue depuis 0:1[23]$"))


def test_a_session_that_ended_is_said(site, page):
    opened = page(site.address + "/file", forgive=CUT)
    live(opened)
    site.signed_in = False
    site.cut()
    expect(opened.locator("#lost")).to_have_text("Session terminée – se reconnecter")
    expect(opened.locator("#lost a")).to_have_attribute("href", site.address + "/file")


def test_leaving_the_page_is_no_lost_connection(site, page):
    """Coming back from the browser's cache, what was missed is asked for."""
    opened = page(site.address + "/file")
    live(opened)
    opened.keyboard.press("j")
    opened.keyboard.press("Enter")
    expect(opened.locator("h1")).to_have_text("Mme DURAND Jeanne")
    opened.go_back()
    live(opened)
    expect(opened.locator("#lost")).not_to_be_visible()


def test_a_hidden_page_without_the_queue_gives_its_connection_back(site, page):
    """A browser has six for a server: a nurse with seven patients open would have none left."""

    def hide(hidden):
        opened.evaluate(
            """hidden => {
              Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    opened = page(site.address + "/patients/pa1")
    live(opened)
    site.heartbeat_s = 0.1
    hide(True)
    wait_until(opened, lambda: site.streams == 0)
    site.fresh = {"new": 1, "rouge": 0}
    hide(False)
    wait_until(opened, lambda: site.streams == 1)
    expect(opened.locator("#new")).to_have_text("1 nouvelle alerte – afficher")
    expect(opened.locator("#lost")).not_to_be_visible()
    opened.goto(site.address + "/file")
    live(opened)
    # The page that was left is noticed at a heartbeat.
    wait_until(opened, lambda: site.streams == 1)
    hide(True)
    site.send("queue", {"new": 2, "rouge": 1})
    expect(opened.locator("#new")).to_have_text("▲ 1 ROUGE et 1 autre – afficher")
    assert site.streams == 1, "a hidden queue is still to sound"


# -------------------------------------------------------------------------------------------------- countdown


def test_times_count_by_the_servers_clock(site, page):
    """The workstation's clock is wrong by a day, and it does no harm."""
    opened = page()
    wrong_s = site.now_ms / 1000 - 86_400
    opened.clock.install(time=wrong_s)
    opened.clock.pause_at(wrong_s + 1)  # it goes on only when it is told to
    site.heartbeat_s = 3600
    opened.goto(site.address + "/file")
    left = opened.locator("#e-a1 [data-due-ms]")
    expect(left).to_have_text(re.compile(r"^2 min \d\d s$"))
    expect(left).not_to_have_class(re.compile("soon|late"))
    expect(opened.locator("#e-b2 [data-due-ms]")).to_have_text("retard 8 min")
    expect(opened.locator("#e-b2 [data-due-ms]")).to_have_class(re.compile("late"))
    expect(opened.locator("#e-b2 [data-since-ms]")).to_have_text("1 h 12")
    expect(opened.locator("#e-e5 [data-since-ms]")).to_have_text("2 j 4 h")
    opened.clock.run_for(60_000)
    expect(left).to_have_text(re.compile(r"^1 min \d\d s$"))
    expect(left).to_have_class(re.compile("soon"))
    opened.clock.run_for(130_000)
    expect(left).to_have_text(re.compile(r"^retard \d+ s$"))
    expect(left).to_have_class(re.compile("late"))


def test_a_heartbeat_brings_the_servers_time(site, page):
    """After a workstation has slept, its page's own counting is behind."""
    # The site's own would bring the time of now a second later.
    site.heartbeat_s = 3600
    opened = page(site.address + "/file")
    live(opened)
    site.send("heartbeat", {"now_ms": site.now_ms + 40 * 60_000})
    expect(opened.locator("#e-c3 [data-due-ms]")).to_have_text(re.compile("^retard 1[01] min$"))


def test_sound_is_a_choice_that_is_kept(site, page):
    opened = page(site.address + "/file")
    button = opened.locator("#sound")
    expect(button).to_have_text("Son : non")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    opened.reload()
    expect(button).to_have_text("Son : oui")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_rouge_sounds_where_that_is_wanted(site, page, wanted):
    opened = page()
    opened.add_init_script(
        """window.notes = 0;
        const make = AudioContext.prototype.createOscillator;
        AudioContext.prototype.createOscillator = function () { notes += 1; return make.call(this); };
        window.AudioContext = class extends AudioContext {
          constructor() { super(); window.context = this; }
        };"""
    )
    opened.goto(site.address + "/file")
    live(opened)
    if wanted:
        opened.locator("#sound").click()
        opened.wait_for_function("window.context?.state === 'running'")
    before = opened.evaluate("notes")
    site.send("queue", {"new": 1, "rouge": 1})
    expect(opened.locator("#announce")).to_have_text("1 nouvelle alerte ROUGE")
    assert (opened.evaluate("notes") > before) == wanted
    # The same figure again is no new ROUGE.
    after = opened.evaluate("notes")
    site.send("queue", {"new": 2, "rouge": 1})
    expect(opened.locator("#new")).to_contain_text("1 autre")
    assert opened.evaluate("notes") == after


# --------------------------------------------------------------------------------------------- plots and ECG


def test_curves_are_drawn_with_their_sentence(site, page):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    assert ink(opened, ".plot >> nth=0 >> canvas") > 20
    assert ink(opened, ".plot >> nth=1 >> canvas") > 20
    expect(opened.locator(".plot figcaption").first).to_contain_text("81,9 kg ce matin")
    expect(opened.locator(".plot-key").first).to_contain_text("reçue en retard")
    expect(opened.locator(".plot-key").first).to_contain_text("sans données")


def test_the_axis_reaches_until_now_where_readings_do_not(site, page):
    """Silence is seen as a gap at the end, not as a curve that ends at the edge."""
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    box = opened.locator(".plot .u-over").nth(1).bounding_box()
    area = opened.locator(".plot-area").nth(1)
    area.focus()
    opened.keyboard.press("ArrowLeft")
    cursor = opened.locator(".plot").nth(1).locator(".u-cursor-x").bounding_box()
    assert (cursor["x"] - box["x"]) / box["width"] == pytest.approx(56 / 60, abs=0.01)


def test_cursor_gives_values_in_all_curves_of_the_page(site, page, shot):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    box = opened.locator(".plot .u-over").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40)
    weight, pressure = opened.locator(".u-legend").all()
    expect(weight).to_contain_text(re.compile(r"\d\d/\d\d/2\d{3} \d\d:\d\d"))
    expect(weight).to_contain_text(re.compile(r"79,\d kg"))
    expect(weight).to_contain_text("81,3 kg")
    expect(pressure).to_contain_text(re.compile(r"1\d\d mmHg"))
    shot(opened, "cursor")


def test_drag_zooms_all_curves_and_double_click_shows_all(site, page, shot):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    whole = [ink(opened, f".plot >> nth={i} >> canvas") for i in (0, 1)]
    assert min(whole) > 20
    before = opened.locator(".plot canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")
    expect(opened.get_by_role("button", name="Tout voir")).to_have_count(0)
    box = opened.locator(".plot .u-over").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.85, box["y"] + 40)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 60, steps=5)
    opened.mouse.up()
    expect(opened.get_by_role("button", name="Tout voir")).to_have_count(2)
    after = opened.locator(".plot canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")
    assert after[0] != before[0]
    assert after[1] != before[1]
    shot(opened, "zoomed", full_page=True)
    opened.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + 40)
    expect(opened.get_by_role("button", name="Tout voir")).to_have_count(0)


def test_a_curve_is_read_and_zoomed_by_keyboard(site, page):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    area = opened.locator(".plot-area").first
    area.focus()
    opened.keyboard.press("ArrowLeft")
    expect(opened.locator(".plot").first.locator("[aria-live]")).to_have_text(
        re.compile(r"^\d\d/\d\d/\d{4} \d\d:\d\d, 8\d(,\d)? kg, 81,3 kg$")
    )
    opened.keyboard.press("+")
    expect(opened.get_by_role("button", name="Tout voir")).to_have_count(2)
    opened.keyboard.press("0")
    expect(opened.get_by_role("button", name="Tout voir")).to_have_count(0)


def test_a_curve_follows_the_palette(site, page):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    before = opened.locator(".plot canvas").first.evaluate("canvas => canvas.toDataURL()")
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_function(
        "before => document.querySelector('.plot canvas').toDataURL() !== before", arg=before
    )
    expect(opened.locator(".plot canvas")).to_have_count(2)


def test_a_curve_that_cannot_be_had_says_so(site, page):
    opened = page(forgive=CUT)
    opened.route("**/data/weight.json", lambda route: route.fulfill(status=500))
    opened.goto(site.address + "/patients/pa1")
    expect(opened.locator(".plot-failed")).to_have_text("Courbe indisponible : rechargez la page.")


def test_ecg_scrolls_over_minutes(site, page, shot):
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    scroll = opened.locator(".ecg-scroll")
    where = opened.locator(".ecg-where")

    def seconds():
        """How long the strip is as far as it is there: 25 mm a second."""
        return scroll.evaluate("scroll => scroll.scrollWidth") / SECOND_PX

    def pressed(key):
        opened.keyboard.press(key)
        return True

    assert ink(opened, ".ecg-canvas") > 20
    # The following window is there before it is needed, and no more than that.
    wait_until(opened, lambda: seconds() == pytest.approx(60, abs=0.05))
    assert site.asked.count("/data/ecg/1.json") == 1
    assert "/data/ecg/5.json" not in site.asked
    scroll.focus()
    first = where.text_content()
    opened.keyboard.press("ArrowRight")
    expect(where).not_to_have_text(first)
    moved = scroll.evaluate("scroll => scroll.scrollLeft")
    assert moved == pytest.approx(SECOND_PX, abs=1), "one second is 25 mm"
    opened.keyboard.press("ArrowLeft")
    expect(where).to_have_text(first)
    # As far as windows are there; who is quicker than they are presses again.
    wait_until(opened, lambda: pressed("PageDown") and "Fibrillation atriale" in where.text_content())
    wait_until(opened, lambda: pressed("End") and seconds() == pytest.approx(180, abs=0.05))
    opened.keyboard.press("End")
    opened.wait_for_function(
        """() => {
          const scroll = document.querySelector(".ecg-scroll");
          return scroll.scrollLeft + scroll.clientWidth > scroll.scrollWidth - 2;
        }"""
    )
    assert [site.asked.count(f"/data/ecg/{window}.json") for window in range(7)] == [1] * 6 + [0]
    assert ink(opened, ".ecg-canvas") > 20
    shot(opened, "ecg-end", full_page=True)


# Two seconds of the strip to and fro: frames after which the page did not show where it is, and the median of a frame.
SWAYING = """() => new Promise(done => {
  const scroll = document.querySelector(".ecg-scroll");
  const where = document.querySelector(".ecg-where");
  const from = scroll.scrollLeft - 300;
  const times = [];
  let missed = 0;
  let began = performance.now();
  const sway = () => {
    const before = where.textContent;
    scroll.scrollLeft = from + (times.length % 2 ? 0 : 190);
    // Scrolled before the first of these is called, drawn before the second.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (where.textContent === before) missed += 1;
      times.push(performance.now() - began);
      began = performance.now();
      if (times.length < 40) sway();
      else done([missed, times.sort((a, b) => a - b)[20]]);
    }));
  };
  sway();
})"""


def test_ecg_is_drawn_without_delay(site, page):
    """With the next frame, and a long strip no slower than a short one: only what is in view is drawn."""
    opened = page(site.address + "/patients/pa1")
    drawn(opened)
    scroll = opened.locator(".ecg-scroll")
    scroll.focus()
    scroll.evaluate("scroll => scroll.scrollLeft = 400")
    missed, short_ms = opened.evaluate(SWAYING)
    assert missed == 0

    def whole():
        opened.keyboard.press("End")
        return scroll.evaluate("scroll => scroll.scrollWidth") > 179 * SECOND_PX

    wait_until(opened, whole)
    opened.keyboard.press("End")
    missed, long_ms = opened.evaluate(SWAYING)
    assert missed == 0
    assert long_ms < 3 * short_ms + 50


def test_ecg_goes_on_after_a_window_failed(site, page):
    opened = page(forgive=CUT)
    failing = {"on": True}

    def window(route):
        if failing["on"]:
            route.fulfill(status=500)
        else:
            route.continue_()

    opened.route("**/data/ecg/1.json", window)
    opened.goto(site.address + "/patients/pa1")
    drawn(opened)
    expect(opened.locator(".ecg-where")).to_contain_text("nouvel essai")
    failing["on"] = False
    expect(opened.locator(".ecg-where")).not_to_contain_text("nouvel essai")
