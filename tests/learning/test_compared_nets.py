"""All networks behind one face, and each paper's own law."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sonosteer.core.errors import InputError
from sonosteer.learning.checkpoints.tracking import save_pretrained
from sonosteer.learning.nets import blocks, face, lorat, mixformer, siamban, siamrpn_pp, stmtrack, swintrack
from sonosteer.learning.nets.face import TipNet, TipTarget
from sonosteer.learning.nets.table import NETS

pytestmark = pytest.mark.slow

S, T, B = 96, 32, 4
SMALL = {"c": 16, "widths": (8, 16, 16, 24, 24)}
SETTINGS: dict[str, dict[str, Any]] = {
    "vla": {"preset": "tiny"},
    "siamrpn++": SMALL,
    "siamcar": SMALL,
    "siamban": SMALL,
    "stmtrack": SMALL,
    "swintrack": {"c": 48, "heads": 2, "encoder": 1},
    "mixformer": {"c": 32, "heads": 2, "depth": 3},
    "lorat": {"preset": "tiny"},
}
#: what no loss reaches, and why
UNREACHED: dict[str, set[str]] = {}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(name: str) -> TipNet:
    torch.manual_seed(0)
    net: TipNet = NETS.load(name)(S, T, **SETTINGS[name])
    return net


def blob(side: int, centre: torch.Tensor, of: float) -> torch.Tensor:
    """(B, side, side): a bright spot; of: its standard deviation in crop units."""
    at = face.cell_centres(side, side, centre)
    spot = torch.exp(-((at[None] - centre[:, None]) ** 2).sum(-1) / (2 * of**2))
    return 0.15 + 0.8 * spot.view(-1, side, side)


def scene(centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, TipTarget]:
    """(template, search, target): a spot in speckle, a little to the left in the frame before."""
    b = len(centre)
    chance = torch.Generator().manual_seed(1)
    before = centre - torch.tensor([0.03, 0.0])
    search = torch.stack([blob(S, before, 0.04), blob(S, centre, 0.04)], 1)
    search = search + 0.1 * torch.rand(b, 2, S, S, generator=chance)
    template = blob(T, torch.full((b, 2), 0.5), 0.04 * S / T)[:, None]
    one = torch.ones(b)
    return template, search.clamp(0, 1), TipTarget(centre, torch.full((b, 2), 0.28), one, one, one)


PLACES = torch.tensor([[0.3, 0.3], [0.7, 0.35], [0.35, 0.7], [0.62, 0.6]])


def best(net: TipNet, template: torch.Tensor, search: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found = net.candidates(net(search, template))
    return face.pick(found.centre, found.score.argmax(1))


@cache
def trained(name: str) -> tuple[TipNet, list[float]]:
    """After 60 steps on one batch, and the losses on the way."""
    net = small(name)
    template, search, target = scene(PLACES)
    groups = net.groups(3e-3, 0.01)
    optimizer = torch.optim.AdamW(groups)
    losses = []
    for step in range(60):
        for group in groups:
            group["lr"] = group["base_lr"] * min(1.0, (step + 1) / 5, (60 - step) / 20)
        loss, _ = net.loss(net(search, template), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return net.eval(), losses


each = pytest.mark.parametrize("name", list(NETS))


@each
def test_candidates_are_places_with_scores_between_0_and_1(name: str) -> None:
    net = small(name).eval()
    template, search, _ = scene(PLACES)
    with torch.no_grad():
        raw = net(search, template)
        found = net.candidates(raw)
    k = found.score.shape[1]
    assert raw["visible"].shape == raw["log_sd"].shape == found.score.shape == found.visible.shape == found.sd.shape
    assert found.centre.shape == found.size.shape == (B, k, 2)
    assert all(bool(torch.isfinite(t).all()) for t in found)
    for share in (found.score, found.visible):
        assert bool(((share >= 0) & (share <= 1)).all())
    assert bool((found.size > 0).all())
    assert bool((found.sd > 0).all())


@each
def test_embedding_once_and_answering_equals_both_at_once(name: str) -> None:
    net = small(name).eval()
    template, search, _ = scene(PLACES[:1])
    with torch.no_grad():
        kept = net.embed(template)
        assert len(kept) == 1
        first, again = net.respond(search, kept), net.respond(search, kept)
        both = net(search, template)
    for key, value in both.items():
        torch.testing.assert_close(first[key], value)
        torch.testing.assert_close(again[key], value)


@each
def test_the_loss_is_finite_and_reaches_every_trained_parameter(name: str) -> None:
    net = small(name)
    template, search, target = scene(PLACES)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(2):  # what begins at zero hides what lies before it from the first step
        loss, parts = net.loss(net(search, template), target)
        assert bool(torch.isfinite(loss))
        torch.testing.assert_close(torch.stack(list(parts.values())).sum(), loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unreached = {n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert unreached == UNREACHED.get(name, set())


@each
def test_the_loss_is_finite_where_no_crop_holds_a_tip(name: str) -> None:
    net = small(name)
    template, search, target = scene(PLACES)
    none = torch.zeros(B)
    away = TipTarget(target.centre + 0.8, target.size, none, none, target.weight)
    loss, _ = net.loss(net(search, template), away)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


@each
def test_sixty_steps_on_one_batch_find_its_tips(name: str) -> None:
    net, losses = trained(name)
    template, search, target = scene(PLACES)
    assert losses[-1] < losses[0]
    assert bool(((best(net, template, search) - target.centre).norm(dim=1) < 0.1).all())


@each
def test_a_moved_tip_moves_the_answer(name: str) -> None:
    net, _ = trained(name)
    start = torch.tensor([[0.35, 0.4], [0.6, 0.4]])
    move = torch.tensor([[0.25, 0.0], [0.0, 0.25]])
    answers = [best(net, *scene(where)[:2]) for where in (start, start + move)]
    moved = ((answers[1] - answers[0]) * move).sum(1) / 0.25
    assert bool((moved > 0.15).all())


@each
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    net = small(name).eval()
    template, search, _ = scene(PLACES)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        one, other = net(search, template), net(search[order], template[order])
    for key, value in one.items():
        torch.testing.assert_close(other[key], value[order], rtol=1e-4, atol=1e-5)


@each
def test_the_default_size_answers_too_and_is_small(name: str) -> None:
    net: TipNet = NETS.load(name)(160, 64)
    with torch.no_grad():
        found = net.candidates(net(torch.rand(1, 2, 160, 160), torch.rand(1, 1, 64, 64)))
    assert found.score.shape[1] in (1, 100, 400, 1200)
    assert 1.5e6 < sum(p.numel() for p in net.parameters()) < 4e6


@each
def test_an_unknown_setting_is_named(name: str) -> None:
    with pytest.raises(InputError, match="colour"):
        NETS.load(name)(S, T, colour=1)


@pytest.mark.parametrize("name", [n for n in NETS if n != "vla"])
def test_a_crop_of_100_px_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="search_px is 100"):
        NETS.load(name)(100, T)


# Correlation


@pytest.mark.parametrize("n", [3, 7])
def test_correlation_equals_a_loop(n: int) -> None:
    x, kernel = torch.randn(2, 3, 9, 8).double(), torch.randn(2, 3, n, n).double()
    padded = torch.nn.functional.pad(x, (n // 2,) * 4)
    wanted = torch.zeros_like(x)
    for y in range(9):
        for i in range(8):
            wanted[:, :, y, i] = (padded[:, :, y : y + n, i : i + n] * kernel).sum((-1, -2))
    torch.testing.assert_close(blocks.correlate(x, kernel), wanted)


def test_gradients_of_correlation_are_those_of_finite_differences() -> None:
    x = torch.randn(2, 2, 5, 4).double().requires_grad_()
    kernel = torch.randn(2, 2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(blocks.correlate, (x, kernel))


@pytest.mark.parametrize(("side", "left"), [(4, 3), (8, 7), (12, 7), (9, 7)])
def test_the_centre_of_a_template_is_odd_and_stays_in_the_middle(side: int, left: int) -> None:
    centre = blocks.template_centre(torch.arange(side).float().expand(1, 1, side, side))
    assert centre.shape[-2:] == (left, left)
    assert float(centre[0, 0, 0, left // 2]) == (side - 1) / 2


# Labels


def one_target(x: float, y: float, size: float, present: float = 1.0) -> TipTarget:
    one = torch.ones(1)
    return TipTarget(torch.tensor([[x, y]]), torch.full((1, 2), size), one, one * present, one)


def test_anchors_against_a_hand_example() -> None:
    at, side = siamrpn_pp.anchors(8, (0.2, 0.4), torch.zeros(1))
    assert at.tolist() == [[0.25, 0.25]] * 2 + [[0.75, 0.25]] * 2 + [[0.25, 0.75]] * 2 + [[0.75, 0.75]] * 2
    overlap = siamrpn_pp.anchor_overlap(at, side, one_target(0.25, 0.3, 0.4))
    # 0.4 x 0.35 of the larger one overlap; the smaller one lies within
    torch.testing.assert_close(overlap[0, :2], torch.tensor([0.04 / 0.16, 0.14 / (0.32 - 0.14)]))
    assert not overlap[0, 2:].any()
    positive, negative = siamrpn_pp.anchor_labels(overlap, one_target(0.25, 0.3, 0.4))
    assert positive[0].tolist() == [False, True] + [False] * 6
    assert negative[0].tolist() == [True, False] + [True] * 6
    assert not siamrpn_pp.anchor_labels(overlap, one_target(0.25, 0.3, 0.4, 0.0))[0].any()


def test_the_deltas_of_an_anchor_lead_to_the_box() -> None:
    net = siamrpn_pp.make_siamrpn_pp(S, T, **SMALL)
    k = 3 * 12 * 12
    raw = {"class": torch.zeros(1, k, 2), "delta": torch.zeros(1, k, 4)} | {
        n: torch.zeros(1, k) for n in ("visible", "log_sd")
    }
    at, side = siamrpn_pp.anchors(k, net.sides, torch.zeros(1))
    raw["delta"][0, 5] = torch.cat([(torch.tensor([0.2, 0.1]) - at[5]) / side[5], (0.25 / side[5]).log().expand(2)])
    found = net.candidates(raw)
    torch.testing.assert_close(found.centre[0, 5], torch.tensor([0.2, 0.1]))
    torch.testing.assert_close(found.size[0, 5], torch.tensor([0.25, 0.25]))


def test_ellipse_labels_against_a_hand_example() -> None:
    at = face.cell_centres(1, 10, torch.zeros(1)) * torch.tensor([1.0, 0.0]) + torch.tensor([0.0, 0.5])
    # box 0.5 wide around 0.45: outer ellipse to 0.25 either way, inner to 0.125
    positive, negative = siamban.cell_labels(at, one_target(0.45, 0.5, 0.5))
    assert positive[0].nonzero().flatten().tolist() == [3, 4, 5]
    assert negative[0].nonzero().flatten().tolist() == [0, 1, 7, 8, 9]
    small_box, _ = siamban.cell_labels(at, one_target(0.49, 0.5, 0.05))
    assert small_box[0].nonzero().flatten().tolist() == [4]
    nothing, everything = siamban.cell_labels(at, one_target(0.45, 0.5, 0.5, 0.0))
    assert not nothing.any()
    assert everything.all()


def test_corners_of_a_box_are_outside_its_ellipse() -> None:
    at = face.cell_centres(20, 20, torch.zeros(1))
    target = one_target(0.5, 0.5, 0.5)
    box, ellipse = blocks.inside_box(at, target), blocks.inside_ellipse(at, target, 1.0)
    assert bool((box | ~ellipse).all())
    assert float(ellipse.sum() / box.sum()) == pytest.approx(torch.pi / 4, abs=0.05)


def test_centerness_is_one_in_the_middle_and_nothing_outside() -> None:
    at = torch.tensor([[0.5, 0.5], [0.6, 0.5], [0.8, 0.5]])
    got = blocks.centerness(at, one_target(0.5, 0.5, 0.4))
    torch.testing.assert_close(got, torch.tensor([[1.0, (0.1 / 0.3) ** 0.5, 0.0]]))


def test_a_draw_takes_at_most_so_many_and_only_what_is_there() -> None:
    among = torch.rand(3, 50) < torch.tensor([[0.0], [0.1], [0.9]])
    taken = blocks.drawn(among, 16)
    assert not (taken & ~among).any()
    assert taken.sum(1).tolist() == [min(16, int(n)) for n in among.sum(1)]


# Each paper's own


def test_siamese_levels_are_weighted_by_a_softmax() -> None:
    heads = blocks.LevelHeads(16, 3, sure=False)
    levels = [torch.randn(2, 16, 6, 6) for _ in range(3)]
    kernels = heads.kernels([torch.randn(2, 16, 3, 3) for _ in range(3)])
    with torch.no_grad():
        heads.level_weight.copy_(torch.tensor([0.0, 100.0, 0.0]))
        only = heads.heads[1](blocks.correlate(heads.search[1](levels[1]), kernels[:, 1]))
        torch.testing.assert_close(heads(levels, kernels), only)


def test_a_memory_read_is_a_softmax_over_all_memory_places() -> None:
    query, memory = torch.randn(2, 8, 3, 3), torch.randn(2, 10, 8)
    got = stmtrack.read(query, memory)
    likeness = torch.einsum("bchw,bmc->bmhw", query, memory) / 8**0.5
    torch.testing.assert_close(got[:, 8:], torch.einsum("bmhw,bmc->bchw", likeness.softmax(1), memory))
    torch.testing.assert_close(got[:, :8], query)


def test_a_second_memory_frame_alike_changes_nothing() -> None:
    net = stmtrack.make_stmtrack(S, T, **SMALL).eval()
    template, search, _ = scene(PLACES[:2])
    with torch.no_grad():
        kept = net.embed(template)
        one, two = net.respond(search, kept), net.respond(search, torch.cat([kept, kept], 1))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-5)


def test_windows_come_back_where_they_were_taken() -> None:
    x = torch.randn(2, 12, 12, 3)
    torch.testing.assert_close(swintrack.out_of_windows(swintrack.in_windows(x, 4), 12), x)
    assert [swintrack.window_side(n) for n in (2, 4, 6, 10, 12, 14, 20)] == [2, 4, 6, 5, 6, 7, 5]


@pytest.mark.parametrize("shifted", [False, True])
def test_a_token_sees_its_window_and_no_other(shifted: bool) -> None:
    block = swintrack.WindowBlock(16, 2, 32, shifted=shifted)
    x = torch.randn(1, 100, 16, requires_grad=True)  # 10 x 10, windows of 5 x 5
    block(x, 10)[0, 0].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(-1).view(10, 10) > 1e-9
    reach = 2 if shifted else 5  # the first shifted window of a corner is what is left of it
    wanted = torch.zeros(10, 10, dtype=torch.bool)
    wanted[:reach, :reach] = True
    assert torch.equal(seen, wanted)


def test_untied_positions_do_not_look_at_the_tokens_and_know_template_from_search() -> None:
    position = swintrack.UntiedPosition(16, 2)
    bias = position(2, 4, torch.zeros(1))
    assert bias.shape == (1, 2, 20, 20)
    assert not torch.allclose(bias[0, 0, 0, :4], bias[0, 0, 4, :4])


def test_mixed_attention_from_the_cache_equals_mixed_attention_of_both() -> None:
    net = mixformer.make_mixformer(S, T, c=64, heads=2, depth=3).eval()
    template, search, _ = scene(PLACES[:2])
    with torch.no_grad():
        z, x = net._tokens(blocks.two_frames(template)), net._tokens(face.normalised_grey(search))
        m = z.shape[1]
        apart = torch.zeros(m + x.shape[1], m + x.shape[1])
        apart[:m, m:] = -torch.inf  # a template's token asks no search token
        kept = net.embed(template)
        cached = net._search(x, kept)
        both = torch.cat([z, x], 1)
        for block in net.blocks:
            both = block(both, apart)
        both = net.norm(both)
    torch.testing.assert_close(cached, both[:, m:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kept[:, -1], both[:, :m], rtol=1e-4, atol=1e-5)


def test_a_corner_is_the_mean_place_of_its_map() -> None:
    head = mixformer.CornerHead(32)
    with torch.no_grad():
        head.maps.weight.zero_()
        box = head(torch.randn(1, 32, 4, 4))
    torch.testing.assert_close(box, torch.full((1, 4), 0.5))


def saved_encoder(folder: Path) -> Any:
    from sonosteer.learning.nets.vla import make_vla_tracker

    torch.manual_seed(3)
    net = make_vla_tracker(S, T, preset="tiny", register=0)
    save_pretrained(net, folder, {})
    return net


def test_lorat_begins_as_the_frozen_encoder(tmp_path: Path) -> None:
    ours = saved_encoder(tmp_path)
    net = lorat.make_lorat(S, T, encoder=tmp_path)
    image = torch.randn(2, 2, S, S)
    with torch.no_grad():
        wanted = ours.encoder(image)
        torch.testing.assert_close(net.encoder(image).deep, wanted.deep)
        first = next(p for n, p in net.encoder.named_parameters() if n.endswith(".up"))
        first.add_(0.1)
        assert not torch.allclose(net.encoder(image).deep, wanted.deep)


def test_lorat_trains_only_additions_types_and_head(tmp_path: Path) -> None:
    saved_encoder(tmp_path)
    net = lorat.make_lorat(S, T, encoder=tmp_path)
    template, search, target = scene(PLACES)
    learns = {n for n, p in net.named_parameters() if p.requires_grad}
    assert all(n.endswith((".up", ".down")) for n in learns if n.startswith("encoder."))
    linear = [m for m in net.encoder.visual.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == len([n for n in learns if n.endswith(".up")]) == 3 * 5
    net.loss(net(search, template), target)[0].backward()
    assert all(p.grad is None for p in net.parameters() if not p.requires_grad)


def test_lorat_joins_template_and_search_as_one_sequence() -> None:
    net = lorat.make_lorat(S, T, preset="tiny").eval()
    template, search, _ = scene(PLACES[:2])
    with torch.no_grad():
        other = net.respond(search, net.embed(template.flip(-1) * 0.5))
        assert not torch.allclose(net(search, template)["score"], other["score"], atol=1e-6)


def test_lorat_refuses_an_encoder_that_it_cannot_join() -> None:
    with pytest.raises(InputError, match="full attention"):
        lorat.make_lorat(224, 96, preset="base")
