"""Why this person gets a letter of a job: the conditions of its query with the person's own values, in a drawer."""

from sqlalchemy import select
from starlette.responses import Response

from services.console.pages.jobs import load_glance
from services.console.pages.queries import told_values
from services.console.pages.query_sentences import sentence
from services.console.pages.why_reasons import why_reason
from services.console.routing import Page
from services.console.visits import Visit
from shared.db.queries import load_query_by_id
from shared.db.tables import applications, write_orders
from shared.db.why import explain_query
from shared.errors import InvalidInput, NotFound


async def show_why(visit: Visit) -> Response:
    """For one order: its application, on its occasion day (D21, D23)."""
    job, a, o = await load_glance(visit), applications.c, write_orders.c
    order_id = visit.path("order")
    whom = select(a.external_id, a.first_name, a.last_name, o.occasion_day)
    whom = whom.join_from(write_orders, applications, a.id == o.application_id)
    async with visit.database.read() as connection:
        row = (await connection.execute(whom.where(o.id == order_id, o.job_id == job.id))).mappings().first()
        if row is None:
            raise NotFound("order", str(order_id))
        try:
            query = await load_query_by_id(connection, job.row["query_id"])
        except InvalidInput as exc:
            return visit.render("job_why.html", job=job, row=row, problem=visit.refusal(exc))
        found = await explain_query(connection, query, row["external_id"], row["occasion_day"], await visit.today())
    return visit.render(
        "job_why.html",
        job=job,
        row=row,
        problem="",
        who=row["external_id"],
        query=query,
        people=[row],
        found=found,
        told=[sentence(visit, one["filter"]) for one in found["conditions"]],
        values=told_values(visit, found),
        ruled=lambda text: why_reason(visit, text),
    )


PAGES = (Page("/jobs/{id:int}/why/{order:int}", show_why, "view"),)
