"""Customers by words of their names and addresses: in any order, however accented, and nearly written so."""

from collections.abc import Sequence
from difflib import get_close_matches
from re import split

from django.contrib.postgres.lookups import TrigramWordSimilar
from django.contrib.postgres.search import TrigramWordSimilarity
from django.db import connection
from django.db.models import F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Left

from billing.models import User

SHORTEST_PART = 3  # characters; fewer make no trigram
# Of a name, which may be longer than an index row, so much is in the index of beginnings.
LONGEST_BEGINNING = 200
# As the index users_search has it.
_SEARCHED = Func(F("email"), F("name"), function="search_form", output_field=TextField())
# Two letters that changed places leave a third of the trigrams of a short name.
_SIMILAR_FROM = 0.3
_CANDIDATES = 200
# https://docs.python.org/3/library/difflib.html#difflib.get_close_matches
_CLOSE_FROM = 0.75


def equal(term: str) -> QuerySet[User]:
    """Whose address the term is, or whose name at Cognito."""
    return User.objects.filter(Q(email__iexact=term) | Q(cognito_user_id=term))


def beginning_with(term: str) -> QuerySet[User]:
    """Whose address or name begins with the term."""
    return User.objects.alias(beginning=Left("name", LONGEST_BEGINNING)).filter(
        Q(email__istartswith=term) | Q(beginning__istartswith=term)
    )


def containing(term: str) -> QuerySet[User]:
    """Whose address and name together contain each word of the term; nobody where all words are short."""
    words = _form(term).split()
    if not any(len(word) >= SHORTEST_PART for word in words):
        return User.objects.none()
    found = User.objects.alias(searched=_SEARCHED)
    for word in words:
        found = found.filter(searched__contains=word)
    return found


def similar(term: str, limit: int) -> Sequence[User]:
    """Whose address or name has, for each word of the term, one that is nearly written so; the nearest first.

    The words are compared as difflib does it. The server's limit for trigrams is set for the transaction around:
    https://www.postgresql.org/docs/current/pgtrgm.html#PGTRGM-GUC
    """
    form = _form(term)
    words = [word for word in form.split() if len(word) >= SHORTEST_PART]
    if not words:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pg_trgm.word_similarity_threshold', %s, true)", [str(_SIMILAR_FROM)])
    near = User.objects.annotate(searched=_SEARCHED).filter(TrigramWordSimilar(F("searched"), Value(form)))
    candidates = near.order_by(TrigramWordSimilarity(form, "searched").desc(), "pk")[:_CANDIDATES]
    return [user for user in candidates if _is_close(words, user.searched)][:limit]


def _is_close(words: Sequence[str], searched: str) -> bool:
    known = [part for part in split(r"[\s@._+-]+", searched) if part]
    return all(get_close_matches(word, known, n=1, cutoff=_CLOSE_FROM) for word in words)


def _form(term: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT search_form('', %s)", [term])
        return str(cursor.fetchone()[0]).strip()
