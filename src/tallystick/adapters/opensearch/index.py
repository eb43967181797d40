"""The search index in OpenSearch: what the port asks for, over parts behind an alias for each log."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import structlog
from opensearchpy import NotFoundError, RequestError

from tallystick.adapters.opensearch.bulk import Bulk, operation
from tallystick.adapters.opensearch.connection import connect, error_type, outage_told
from tallystick.adapters.opensearch.counting import aggregations, newest_seq, read_counts
from tallystick.adapters.opensearch.layout import Names, Place, lead_away, read_places
from tallystick.adapters.opensearch.schema import (
    COLUMNS_SINCE,
    MARKERS,
    MOST_EXPANSIONS,
    Dsl,
    begun_phrases,
    compile_query,
    some,
    template,
    to_source,
)
from tallystick.adapters.opensearch.searching import (
    ANSWERED,
    Answer,
    Marker,
    count_search,
    has_gap,
    marker_operations,
    markers_search,
    page_search,
    read_answer,
    vouched,
)
from tallystick.errors import SearchDownError
from tallystick.ports import (
    CorruptIndexError,
    CountRequest,
    Counts,
    Hits,
    IndexBehindError,
    IndexState,
    SearchRequest,
    endless_phrase,
)
from tallystick.query.terms import Document, TermQuery
from tallystick.settings import SearchSettings

_PARTS: Final = 4
"""Markers that are left room for; a log of more parts is asked again."""

_REMOVAL_SECONDS: Final = 600.0
"""A removal that takes longer goes on without us; whoever asked for it asks again."""

_RANGES: Final = 500
"""Ranges of seqs that one request removes."""

_SWAP_SECONDS: Final = 20.0
"""How long a swap waits for what it removes. What is left then is removed by the next swap or drop of the log."""

_log = structlog.get_logger("tallystick.opensearch")


class OpenSearchIndex:
    """A `SearchIndex` in a cluster.

    It keeps nothing of a log in this process: each call looks where the log is. An index that somebody removed is an
    empty one; a log that lacks an early part only is damaged.

    Args:
        settings: Where the cluster is, and sizes.

    Raises:
        ConfigurationError: They need a person.
    """

    def __init__(self, settings: SearchSettings) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._prepared = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def append(
        self,
        log_id: int,
        documents: Sequence[Document],
        *,
        through: int,
        after: int = -1,
        generation: str | None = None,
    ) -> int:
        """See `SearchIndex`.

        Raises:
            RefusedDocumentError: OpenSearch will never take one of the documents.
        """
        names = self._names(log_id)
        alias = names.generation(generation)
        with outage_told():
            place, markers = await asyncio.gather(self._place(alias), self._markers(log_id, alias))
            known = vouched(markers.values())
            if known < after:
                raise IndexBehindError(known)
            if through <= known:
                return known
            if place is None:
                place = await self._begin(names, generation)
            marker = markers.get(place.parts[-1], Marker(known, known, 0))
            if marker.documents >= self._most_documents(names, place):
                place = await self._extend(names, alias, place, known)
                marker = Marker(known, known, 0)
            new = [document for document in documents if document.seq > known]
            bulk = Bulk(self._client, place.parts[-1], str(log_id))
            await bulk.write(
                operation(document.seq, f"{place.build}-{document.seq}", to_source(log_id, place.build, document))
                for document in new
            )
            grown = Marker(marker.after, through, marker.documents + len(new))
            await bulk.write(marker_operations(place.build, grown), refresh=True)
        return known

    async def search(self, log_id: int, request: SearchRequest) -> Hits:
        """See `SearchIndex`."""
        alias = self._names(log_id).live
        query = compile_query(log_id, request.query)
        with outage_told():
            await self._refuse_endless(log_id, alias, request.query)
            bound: int | None = None
            while True:
                answer, through = await self._vouched(log_id, alias, page_search(request, query, bound), bound)
                hits = tuple(hit for hit in answer.hits if hit.seq <= through)
                if len(hits) == len(answer.hits) or len(hits) >= request.limit:
                    return Hits(hits[: request.limit], through)
                bound = through  # what is being written right now took room on the page

    async def count(self, log_id: int, request: CountRequest) -> Counts:
        """See `EventCounter`."""
        alias = self._names(log_id).live
        query, asked = compile_query(log_id, request.query), aggregations(request)
        with outage_told():
            await self._refuse_endless(log_id, alias, request.query)
            bound: int | None = None
            while True:
                answer, through = await self._vouched(log_id, alias, count_search(query, asked, bound), bound)
                if newest_seq(answer.aggregations) <= through:
                    return read_counts(request, answer.aggregations, through)
                bound = through  # what is being written right now was counted

    async def forget(self, log_id: int, seqs: Sequence[tuple[int, int]], *, generation: str | None = None) -> None:
        """See `EventForgetter`."""
        names = self._names(log_id)
        alias = names.generation(generation)
        with outage_told():
            for begin in range(0, len(seqs), _RANGES):
                ranges: list[Dsl] = [
                    {"range": {"seq": {"gte": low, "lte": high}}} for low, high in seqs[begin : begin + _RANGES]
                ]
                query: Dsl = {"bool": {"filter": [some(ranges)], "must_not": [{"terms": {"marker": MARKERS}}]}}
                with suppress(NotFoundError):  # the log was never indexed
                    await self._remove_documents(names, alias, query, _REMOVAL_SECONDS)

    async def purge(self, log_id: int) -> bool:
        """See `EventForgetter`. Segments in which documents were deleted are written anew without them."""
        with outage_told(), suppress(NotFoundError):
            await self._client.indices.forcemerge(
                index=self._names(log_id).live,
                params={"only_expunge_deletes": "true", "request_timeout": _REMOVAL_SECONDS},
            )
        return True

    async def state(self, log_id: int, *, generation: str | None = None) -> IndexState:
        """See `SearchIndex`."""
        alias = self._names(log_id).generation(generation)
        with outage_told():
            markers, sizes, documents = await asyncio.gather(
                self._markers(log_id, alias), self._document_bytes(alias), self._documents(alias)
            )
        size = sum(marker.documents * sizes.get(index, 0.0) for index, marker in markers.items())
        return IndexState(vouched(markers.values()), documents, round(size))

    async def swap(self, log_id: int, generation: str) -> None:
        """See `SearchIndex`. A generation that was never built is an empty one.

        What takes long to remove is removed afterwards; nobody sees it any more.
        """
        names = self._names(log_id)
        building = names.generation(generation)
        with outage_told():
            former, built = await asyncio.gather(self._place(names.live), self._place(building))
            actions: list[Dsl] = []
            if former is not None and not (built is None and names.is_of(former.build, generation)):
                actions += [*names.lead(names.gone(former.build), former), *lead_away(names.live, former)]
            if built is not None:
                actions += [*names.lead(names.live, built), *lead_away(building, built)]
            await self._move(actions)
        try:
            with outage_told():
                await self._sweep(names, _SWAP_SECONDS)
        except SearchDownError:
            _log.warning("removal_put_off", log_id=log_id)

    async def drop(self, log_id: int, *, generation: str | None = None) -> None:
        """See `SearchIndex`. A generation that is live by now stays."""
        names = self._names(log_id)
        with outage_told():
            dropped = await self._places(names.generation(generation))
            if generation is None:
                dropped |= await self._places(names.generations)
            actions: list[Dsl] = []
            for alias, place in dropped.items():
                actions += [*names.lead(names.gone(place.build), place), *lead_away(alias, place)]
            await self._move(actions)
            await self._sweep(names, _REMOVAL_SECONDS)

    def _names(self, log_id: int) -> Names:
        return Names(self._settings.prefix, log_id)

    def _most_documents(self, names: Names, place: Place) -> int:
        return self._settings.shared_events if names.is_shared(place.parts[-1]) else self._settings.index_events

    async def _place(self, alias: str) -> Place | None:
        return (await self._places(alias)).get(alias)

    async def _places(self, aliases: str) -> dict[str, Place]:
        """Where an alias leads, or each alias of a pattern."""
        try:
            return read_places(await self._client.indices.get_alias(name=aliases))
        except NotFoundError:
            return {}

    async def _markers(self, log_id: int, alias: str) -> Mapping[str, Marker]:
        """How far each part is.

        Raises:
            CorruptIndexError: One that was there is missing.
        """
        answer = await self._ask(alias, markers_search, preference="_primary")
        if has_gap(answer.markers.values()):
            raise CorruptIndexError(f"a part of the search index of log {log_id} is missing")
        return answer.markers

    async def _vouched(
        self, log_id: int, alias: str, search: Callable[[int], Dsl], bound: int | None
    ) -> tuple[Answer, int]:
        """Search a log; returns how far what answered holds it, too, which is no more than the search asked for.

        Raises:
            CorruptIndexError: A part that was there is missing.
        """
        answer = await self._ask(alias, search)
        if has_gap(answer.markers.values()):
            await self._markers(log_id, alias)  # a copy that is behind has one, too
        through = vouched(answer.markers.values())
        return answer, through if bound is None else min(through, bound)

    async def _ask(self, alias: str, search: Callable[[int], Dsl], **options: str) -> Answer:
        """Search a log, leaving room for as many markers as there are."""
        room = _PARTS
        while True:
            try:
                found: Mapping[str, Any] = await self._client.search(
                    index=alias,
                    body=search(room),
                    params={"allow_partial_search_results": "false", "filter_path": ANSWERED, **options},
                )
            except NotFoundError:
                return Answer((), {}, 0)
            answer = read_answer(found)
            if answer.parts <= room:
                return answer
            room = answer.parts

    async def _refuse_endless(self, log_id: int, alias: str, query: TermQuery) -> None:
        """Refuse a phrase whose last word could be too many: beyond its bound, OpenSearch leaves words out unsaid."""
        phrases = [compile_query(log_id, phrase) for phrase in begun_phrases(query)]
        if not phrases:
            return
        try:
            found: Mapping[str, Any] = await self._client.indices.validate_query(
                index=alias,
                body={"query": some(phrases)},
                params={"rewrite": "true", "all_shards": "true", "filter_path": "explanations.explanation"},
            )
        except NotFoundError:
            return
        # It answers with the words it would look for, a space before each.
        if any(each["explanation"].count(" ") > MOST_EXPANSIONS for each in found["explanations"]):
            raise endless_phrase()

    async def _documents(self, alias: str) -> int:
        """How many events a log's parts hold. Markers tell how many were written, some of which are forgotten."""
        try:
            found: Mapping[str, Any] = await self._client.count(
                index=alias, body={"query": {"bool": {"must_not": [{"terms": {"marker": MARKERS}}]}}}
            )
        except NotFoundError:
            return 0
        return found["count"]

    async def _document_bytes(self, alias: str) -> dict[str, float]:
        """What a document takes on disk, on average, in each index of a log."""
        try:
            found: Mapping[str, Any] = await self._client.indices.stats(
                index=alias, metric="docs,store", params={"filter_path": "indices.*.primaries"}
            )
        except NotFoundError:
            return {}
        sizes = {index: stats["primaries"] for index, stats in found.get("indices", {}).items()}
        return {index: size["store"]["size_in_bytes"] / max(size["docs"]["count"], 1) for index, size in sizes.items()}

    async def _begin(self, names: Names, generation: str | None) -> Place:
        place = Place(names.new_build(generation), (names.shared_part(self._settings.shared_logs),))
        await self._add_part(names, names.generation(generation), place)
        return place

    async def _extend(self, names: Names, alias: str, place: Place, known: int) -> Place:
        """Begin the next part of a log."""
        # What a crash left behind the marker would be found beside the same events in the next part.
        await self._remove_documents(names, alias, {"range": {"seq": {"gt": known}}}, _REMOVAL_SECONDS)
        extended = Place(place.build, (*place.parts, names.next_part(place)))
        await self._add_part(names, alias, extended)
        return extended

    async def _add_part(self, names: Names, alias: str, place: Place) -> None:
        """Let an alias lead to the last part of a place, too, which is made unless it is there."""
        if not self._prepared:
            prefix = self._settings.prefix
            await self._client.indices.put_index_template(name=prefix, body=template(prefix))
            # Those that a release before made learn what is new; to have it of old events, their logs are made anew.
            await self._client.indices.put_mapping(
                index=f"{prefix}-events-*,{prefix}-log-*",
                body={"properties": COLUMNS_SINCE},
                params={"allow_no_indices": "true", "ignore_unavailable": "true"},
            )
            self._prepared = True
        part = place.parts[-1]
        try:
            made = await self._client.indices.create(index=part)
            if not made["shards_acknowledged"]:
                raise SearchDownError("OpenSearch has no room for an index", retry_after=30)
        except RequestError as error:
            reason = error_type(error)
            if reason != "resource_already_exists_exception":
                raise SearchDownError(f"OpenSearch makes no index: {reason}", retry_after=30) from error
        # Not before it is ready: whoever searches the log meanwhile is answered.
        await self._move(names.lead(alias, Place(place.build, (part,))))

    async def _move(self, actions: Sequence[Dsl]) -> None:
        """Change where aliases lead, all at once."""
        if actions:
            await self._client.indices.update_aliases(body={"actions": actions})

    async def _sweep(self, names: Names, seconds: float) -> None:
        """Remove what is to be removed, now or since it was put off."""
        for alias, place in (await self._places(names.all_gone)).items():
            own: Mapping[str, Any] = await self._client.indices.get_alias(index=names.own_parts(place.build))
            if own:
                await self._client.indices.delete(index=",".join(own))
            shared = Place(place.build, tuple(filter(names.is_shared, place.parts)))
            if shared.parts:
                await self._remove_documents(names, alias, {"match_all": {}}, seconds)
                await self._move(lead_away(alias, shared))

    async def _remove_documents(self, names: Names, alias: str, query: Dsl, seconds: float) -> None:
        """Remove documents that an alias shows."""
        removed: Mapping[str, Any] = await self._client.delete_by_query(
            index=alias,
            body={"query": query},
            params={
                "routing": str(names.log_id),
                "conflicts": "proceed",  # somebody else removed it already
                "refresh": "true",
                "request_timeout": seconds,
            },
        )
        if removed["failures"] or removed["timed_out"]:
            raise SearchDownError("OpenSearch could not remove all of it", retry_after=5)
