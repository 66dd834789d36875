"""Whatever staff are offered is reached and started without a mouse, and the focus is seen on its way."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.utils import quote
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from billing.models import (
    ApiKey,
    Difference,
    ExtraQuota,
    OpenInvoice,
    PlanPrice,
    ReplayRun,
    StripeCustomer,
    StripeRequest,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services.privacy import erasure
from glyphforge.approval.models import Approval
from monitoring.models import Alert, DatabaseSession, HealthCheck, JobRun, SchemaDifference, Silence
from tests.support import back_office, factories
from tests.support.admin_pages import lists_of, operations
from tests.support.browser import Visit
from tests.support.database import sleeping
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOUR = timedelta(hours=1)
# Together they may do everything; see glyphforge.roles.
ROLES = ("billing_lead", "operator")
LINK = re.compile(r'href="(/admin/[^"]*/do/[^"]*)"')
OFFER = re.compile(r"/admin/(?P<model>\w+/\w+)/(?P<row>.+/)?do/(?P<operation>\w+)/")
MOST_TABS = 250
BURST = 10  # what has the focus is asked once in so many

# Once the focus has come to it, what `css` selects keeps it, however often Tab is pressed, as long as it is looked for.
STAY = """css => {
    window.looking = new AbortController();
    const stay = event => event.key === "Tab" && document.activeElement.matches(css) && event.preventDefault();
    document.addEventListener("keydown", stay, { capture: true, signal: window.looking.signal });
}"""

# What a key would open is noted in place of being opened, so that a page is left only when all it offers was pressed.
FOLLOWED = """() => {
    window.addEventListener("click", event => {
        const link = event.target.closest("a");
        window.followed = link && !event.defaultPrevented ? link.getAttribute("href") : null;
        event.preventDefault();
    });
}"""

# What has the focus: whether it lies in sight with nothing over it, and whether a ring says so.
FOCUS = """() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + Math.min(box.width / 2, 60), box.y + box.height / 2);
    const style = getComputedStyle(element);
    return {
        href: element.getAttribute("href") || "",
        inSight: top !== null && (element === top || element.contains(top)),
        ringed: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
    };
}"""


def rows(site: back_office.Site) -> list[str]:
    """The page of a row for each action that may be offered there."""
    leaving = Subscription.objects.get(cancel_at_period_end=True)
    key = ApiKey.objects.filter(user=site.customer).earliest("created_at")
    processed = WebhookEvent.objects.filter(status="processed").earliest("received_at")
    alerts = [f"monitoring/alert/{alert.pk}" for alert in Alert.objects.filter(subject=site.customer.email)]
    paths = [
        f"billing/user/{site.customer.pk}",
        f"billing/user/{User.objects.get(status='suspended').pk}",
        f"billing/subscription/{leaving.pk}",
        f"billing/payment/{site.payment.pk}",
        f"billing/apikey/{key.pk}",
        f"billing/webhookevent/{site.failed.pk}",
        f"billing/webhookevent/{processed.pk}",
        f"billing/striperequest/{StripeRequest.objects.get().pk}",
        f"billing/replayrun/{ReplayRun.objects.get().pk}",
        f"billing/difference/{Difference.objects.exclude(kind='other_owner').get().pk}",
        f"billing/unmatchedcustomer/{UnmatchedCustomer.objects.get().pk}",
        *rows_of_leads(site),
        *alerts,
        "monitoring/jobschedule/daily",
        "monitoring/jobschedule/weekly",  # switched off
    ]
    return [f"/admin/{path}/change/" for path in paths]


def rows_of_leads(site: back_office.Site) -> list[str]:
    """What needs a price of ours, a second Stripe customer who names somebody else, or more than a subscription."""
    price = PlanPrice.objects.get_or_create(stripe_price_id="price_ours", tier="starter")[0]
    second, _ = StripeCustomer.objects.get_or_create(stripe_customer_id="cus_second", user=site.customer)
    named, _ = Difference.objects.get_or_create(
        kind="other_owner", object_kind="customer", stripe_id="cus_second", stripe_customer_id="cus_second",
        user=site.customer, field="owner",
    )  # fmt: skip
    paused = Subscription.objects.filter(collection_paused="void").first()
    paused = paused or factories.subscription(collection_paused="void")
    planned = Subscription.objects.filter(stripe_schedule_id="sub_sched_1").first()
    planned = planned or factories.subscription(stripe_schedule_id="sub_sched_1")
    trial = Subscription.objects.filter(stripe_subscription_id="sub_trial").first() or factories.subscription(
        status="trialing", stripe_subscription_id="sub_trial", trial_end=timezone.now() + HOUR
    )
    unpaid, _ = OpenInvoice.objects.get_or_create(
        stripe_invoice_id="in_unpaid", user=paused.user, subscription=paused, status="open", amount_due_cents=2900,
        overdue_since=paused.created_at,
    )  # fmt: skip
    held = User.objects.filter(legal_hold="case 4711").first() or factories.customer(legal_hold="case 4711")
    asked = Approval.objects.first() or erasure.ask(factories.customer(), actor="somebody", reason="asked by letter")
    granted = ExtraQuota.objects.filter(user=site.customer).first() or ExtraQuota.objects.create(
        user=site.customer, extra_requests=1000, ends_at=timezone.now() + HOUR, reason="A fair", granted_by="ada"
    )
    return [
        f"billing/user/{held.pk}",
        f"approval/approval/{asked.pk}",
        f"billing/extraquota/{granted.pk}",
        f"billing/planprice/{quote(price.pk)}",
        f"billing/stripecustomer/{quote(second.pk)}",
        f"billing/difference/{named.pk}",
        f"billing/subscription/{paused.pk}",
        f"billing/subscription/{planned.pk}",
        f"billing/subscription/{trial.pk}",
        f"billing/openinvoice/{unpaid.pk}",
        f"monitoring/paymentatrisk/{unpaid.pk}",
    ]


def rows_of_operators(busy_pid: int) -> list[str]:
    """The same of what operators alone see; `busy_pid` is the process of a session that runs a query."""
    silence = Silence.objects.create(
        check_pattern="dead_rows",
        starts_at=timezone.now(),
        ends_at=timezone.now() + HOUR,
        reason="Moving",
        created_by="ada",
    )
    JobRun.objects.create(
        job="verify", status="succeeded", trigger="manual", scheduled_for=timezone.now(), finished_at=timezone.now(),
        detail={"found": [{"kind": "index", "name": "users_created_at", "problem": "missing", "sql": "SELECT 1"}]},
    )  # fmt: skip
    paths = [
        f"monitoring/silence/{silence.pk}",
        f"monitoring/databasesession/{wait_for(lambda: DatabaseSession.objects.filter(pid=busy_pid).first()).pk}",
        f"monitoring/schemadifference/{quote(SchemaDifference.objects.get().pk)}",
    ]
    return [f"/admin/{path}/change/" for path in paths]


def links(page: Page, css: str) -> list[str]:
    return list(page.eval_on_selector_all(css, "found => found.map(a => a.getAttribute('href'))"))


def reach(page: Page, css: str) -> None:
    """Press Tab until what `css` selects has the focus, and see that a person would know."""
    page.evaluate(STAY, css)
    for _ in range(MOST_TABS // BURST):
        for _ in range(BURST):
            page.keyboard.press("Tab")
        if page.evaluate("css => document.activeElement.matches(css)", css):
            break
    else:
        raise AssertionError(f"{page.url}: {css} is not reached by Tab")
    page.evaluate("window.looking.abort()")
    focus = page.evaluate(FOCUS)
    assert focus["ringed"], f"{page.url}: no ring around {css}"
    assert focus["inSight"], f"{page.url}: {css} has the focus out of sight"


def skip_to_the_content(page: Page) -> None:
    reach(page, ".gf-skip")
    page.keyboard.press("Enter")


def offers(page: Page, url: str) -> dict[str, str]:
    """The first address of each operation that a page offers, by the operation's name; asked for without drawing it."""
    answer = page.request.get(url)
    assert answer.ok, url
    found: dict[str, str] = {}
    for href in map(unescape, LINK.findall(answer.text())):
        offer = OFFER.match(href)
        assert offer is not None, href
        found.setdefault(f"{offer['model'].replace('/', '.')}.{offer['operation']}", href)
    return found


def confirm_page_is_ready_to_type(page: Page) -> None:
    """Its first empty field has the focus; from there Tab reaches the button that does it."""
    expect(page.locator("form .gf-field :focus")).to_be_visible()
    reach(page, "button:is([name=confirmed], [name=previewed])")


def test_every_action_is_reached_and_started_by_keyboard(visit: Callable[..., Visit], site: back_office.Site) -> None:
    started: set[str] = set()
    pressed: set[str] = set()
    with sleeping() as other:
        for role in ROLES:
            staff = visit(role)
            page = staff.open("/admin/")
            for path in [
                *lists_of(role),
                *rows(site),
                *(rows_of_operators(other.info.backend_pid) if role == "operator" else []),
            ]:
                # The customer page repeats what the pages of its rows offer: there each is pressed again.
                offered = {
                    name: href
                    for name, href in offers(page, site.url + path).items()
                    if name not in started or ("/user/" in path and href not in pressed)
                }
                if not offered:
                    continue
                staff.open(path)
                skip_to_the_content(page)
                page.evaluate(FOLLOWED)
                for href in offered.values():
                    reach(page, f"#content a[href='{href}']")
                    page.keyboard.press("Enter")
                    assert page.evaluate("window.followed") == href
                pressed.update(offered.values())
                for name, href in offered.items():
                    staff.open(href)
                    if page.get_by_text("There is nothing to do.").count() == 0:  # an export of an empty list
                        confirm_page_is_ready_to_type(page)
                        started.add(name)
            assert staff.troubles == []
    Difference.objects.filter(kind="other_owner").delete()  # the other tests have one kind
    assert started >= {name for name, _, operation in operations() if operation.on_one or operation.on_all}


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/admin/billing/webhookevent/", "Retry webhooks"),
        ("/admin/billing/webhookevent/", "Replay"),
        ("/admin/billing/difference/", "Repair"),
        ("/admin/monitoring/alert/?state=firing", "Acknowledge"),
        ("/admin/monitoring/alert/?state=firing", "Snooze"),
        ("/admin/monitoring/alert/?state=acknowledged", "Reopen"),
        ("/admin/monitoring/orphanedstripecustomer/", "Export"),
    ],
)
def test_rows_are_chosen_and_acted_on_by_keyboard(
    path: str, action: str, visit: Callable[..., Visit], site: back_office.Site
) -> None:
    lead = visit("billing_lead")
    page = lead.open(path)
    skip_to_the_content(page)
    reach(page, "input.action-select")
    page.keyboard.press("Space")
    expect(page.locator("select[name=action]")).to_be_visible()
    for _ in range(10):  # the bar comes before the rows
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('select[name=action]')"):
            break
    page.keyboard.type(action[:4])
    expect(page.locator("select[name=action] option:checked")).to_have_text(f"{action}…")
    reach(page, "button[name=index]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=action, level=2)).to_be_visible()
    confirm_page_is_ready_to_type(page)
    assert lead.troubles == []


def test_every_action_of_the_customer_page_is_reached_by_keyboard(
    visit: Callable[..., Visit], site: back_office.Site
) -> None:
    lead = visit("billing_lead")
    page = lead.open(f"/admin/billing/user/{site.customer.pk}/change/")
    wanted = set(links(page, "#content a[href*='/do/']"))
    assert len(wanted) > 6
    reached = set()
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus is not None
        if focus["href"] in wanted:
            assert focus["ringed"], focus
            assert focus["inSight"], focus
            reached.add(focus["href"])
        if wanted <= reached:
            break
    assert wanted <= reached

    page.locator("#content a[href*='/do/note/']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/do/note/**")
    page.keyboard.type("Written without a mouse")  # the field has the focus
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Written without a mouse").first).to_be_visible()
    assert lead.troubles == []


def test_threshold_is_changed_without_a_mouse(visit: Callable[..., Visit], site: back_office.Site) -> None:
    operator = visit("operator")
    page = operator.open("/admin/monitoring/healthcheck/connections/change/")
    skip_to_the_content(page)
    reach(page, "[name=warning_at]")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("55")
    reach(page, "[name=reason]")
    page.keyboard.type("Fewer connections since the pooler")
    reach(page, "[name=_save]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/healthcheck/")
    assert HealthCheck.objects.get(pk="connections").warning_at == 55
    assert operator.troubles == []


def test_filters_open_by_keyboard(visit: Callable[..., Visit], site: back_office.Site) -> None:
    support = visit("support")
    page = support.open("/admin/billing/subscription/")
    skip_to_the_content(page)
    reach(page, r"[role=button][x-on\:click*=filterOpen]")
    page.keyboard.press("Enter")
    expect(page.locator("#changelist-filter a:focus")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#changelist-filter")).to_be_hidden()
    assert support.troubles == []


def test_staff_log_out_by_keyboard(sign_in: Callable[[str], BrowserContext], site: back_office.Site) -> None:
    support = Visit(sign_in("support"), site.url)  # not of the session that other tests go on with
    page = support.open("/admin/")
    reach(page, r"[role=button][x-on\:click*=openUserLinks]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Shift+Tab")  # the menu comes before what opens it
    expect(page.get_by_role("button", name="Log out")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Logged out")).to_be_visible()
    assert support.troubles == []
