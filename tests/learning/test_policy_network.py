"""Action tokens, the language model walked through by hand, and the policy made of both."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Task
from sonosteer.inference.action_encoding import ACTION_RANGES, BINS, INPUT_RANGES
from sonosteer.inference.prompt import instruction, read_vocabulary
from sonosteer.learning.checkpoints.policy import fresh_policy, load_policy, save_policy
from sonosteer.learning.checkpoints.tokenizer import ACTION_WORDS, SAMPLE, checkpoint_language, write_words
from sonosteer.learning.checkpoints.torch_policy_network import TorchPolicyNetwork
from sonosteer.learning.nets import action_tokens as tokens
from sonosteer.learning.nets.policy import PolicyNet
from sonosteer.learning.nets.policy_presets import (
    POLICY_EDGE,
    POLICY_PRESETS,
    POLICY_TINY,
    LanguageModel,
    TrackerTokens,
    policy_preset,
)
from sonosteer.learning.nets.qwen_text import decode_tokens, image_places, rotation, text_places

pytestmark = pytest.mark.slow

SEEN = TrackerTokens((6, 6), 4, 32)


@pytest.fixture
def tiny():
    """decode -> (network, language), the same weights every time."""

    def make_vla_tracker(how="parallel"):
        torch.manual_seed(0)
        net, language = fresh_policy(dataclasses.replace(POLICY_TINY, features=SEEN, decode=how))
        return net.eval(), language

    return make_vla_tracker


def some(language, b=4, seed=0, say=None):
    """(ids, features, numbers, places, text) of a batch."""
    rng = np.random.default_rng(seed)
    ids = torch.tensor([language.encode(SAMPLE)] * b)
    ids[:, 12] = torch.tensor([language.encode(str(k % 10))[0] for k in range(b)])  # other targets
    places = torch.from_numpy(rng.uniform(0, 1, (b, 3)).astype(np.float32))
    features = torch.from_numpy(rng.standard_normal((b, *SEEN.shape)).astype(np.float32))
    numbers = torch.from_numpy(rng.uniform(0, 1, (b, len(INPUT_RANGES))).astype(np.float32))
    places = places if say is None else say(numbers)
    text = torch.full((b, tokens.MAX_TEXT), -1)
    for row, place in zip(text, places, strict=True):
        said = tokens.as_text(tuple(place.tolist()), stop=False)
        row[: len(said)] = torch.tensor(said)
    return ids, features, numbers, places, text


# -- action tokens ---------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0.0, 1.0))
def test_a_bell_sums_to_one_and_its_mean_is_the_place_within_half_a_bin(place):
    label = tokens.soft_labels(torch.tensor([place], dtype=torch.float64))
    assert label.shape == (1, BINS)
    assert float(label.sum()) == pytest.approx(1.0)
    assert float(tokens.read_out(label.log())) * (BINS - 1) == pytest.approx(place * (BINS - 1), abs=0.5)


def test_a_bell_away_from_the_ends_has_the_width_it_should():
    label = tokens.soft_labels(torch.tensor([0.5], dtype=torch.float64))[0]
    at = torch.arange(BINS) - 0.5 * (BINS - 1)
    assert math.sqrt(float((label * at**2).sum())) == pytest.approx(tokens.SIGMA, rel=0.01)


def test_stop_is_a_probability_against_all_bins_together():
    logits = torch.randn(5, BINS + 1)
    share = logits.softmax(-1)[:, -1]
    assert torch.allclose(tokens.stop_logit(logits).sigmoid(), share, atol=1e-6)


def test_the_loss_is_nought_where_the_answer_is_right():
    places, stop = torch.rand(6, 3), torch.tensor([0.0, 1.0] * 3)
    right = tokens.soft_labels(places).clamp(min=1e-12).log()
    parts = tokens.losses(right, 40.0 * (stop - 0.5), places, stop, 5.0)
    assert set(parts) == {"turn", "insertion", "probe", "stop"}
    assert all(0 <= float(v) + 1e-6 < 1e-4 for v in parts.values())
    wrong = tokens.losses(right, -40.0 * (stop - 0.5), 1 - places, stop, 5.0)
    assert all(float(v) > 0.1 for v in wrong.values())


@given(st.tuples(*(st.floats(0.0, 1.0) for _ in range(3))))
def test_an_answer_as_text_comes_back_to_a_tenth_of_its_unit(places):
    classes = tokens.as_text(places, stop=False)
    assert len(classes) <= tokens.MAX_TEXT
    back = tokens.from_text(classes[:-1])
    for r, a, b in zip(ACTION_RANGES, places, back, strict=True):
        assert abs(r.value(a) - r.value(b)) < 0.0501


def test_text_that_is_no_answer_is_not_a_number():
    for said in ("", "12.0 3.4", "1.0 2.0 3.0 4.0", "-.- 1.0 2.0"):
        assert tokens.from_text([tokens.CHARACTERS.index(c) for c in said]) is None


# -- the language model ----------------------------------------------------------------------------------------


def library_model(shape=POLICY_TINY.llm):
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

    torch.manual_seed(0)
    return Qwen2_5_VLTextModel(shape.library_config()).eval()


def places_of_a_sequence():
    parts = [
        text_places(0, 5),
        image_places(5, (3, 4)),
        text_places(9, 2),
        image_places(11, (1, 2)),
        text_places(13, 6),
    ]
    return torch.cat(parts, 1)


def test_the_dense_walk_equals_the_librarys_own_forward():
    llm, shape, places = library_model(), POLICY_TINY.llm, places_of_a_sequence()
    x = torch.randn(2, places.shape[1], shape.width)
    turn = rotation(places, shape.width // shape.heads, shape.sections, shape.theta)
    with torch.no_grad():
        theirs = llm(inputs_embeds=x, position_ids=places[:, None].expand(3, 2, -1)).last_hidden_state
        ours, _ = decode_tokens(llm, x, turn)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_places_are_the_librarys_own():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1, "out_hidden_size": 64}
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=POLICY_TINY.llm.library_config().to_dict())
    model = Qwen2_5_VLForConditionalGeneration(config).model
    kinds = torch.tensor([[0] * 5 + [1] * 12 + [0] * 2 + [1] * 2 + [0] * 6])
    grids = torch.tensor([[1, 6, 8], [1, 2, 4]])
    theirs, _ = model.get_rope_index(torch.zeros_like(kinds), mm_token_type_ids=kinds, image_grid_thw=grids)
    assert torch.equal(theirs[:, 0], places_of_a_sequence())


def test_a_past_and_what_follows_equal_both_at_once():
    llm, shape, places = library_model(), POLICY_TINY.llm, places_of_a_sequence()
    x = torch.randn(2, places.shape[1], shape.width)
    turn = rotation(places, shape.width // shape.heads, shape.sections, shape.theta)
    with torch.no_grad():
        whole, kept = decode_tokens(llm, x, turn)
        _, past = decode_tokens(llm, x[:, :7], tuple(t[:7] for t in turn))
        after, both = decode_tokens(llm, x[:, 7:], tuple(t[7:] for t in turn), past)
    assert torch.allclose(whole[:, 7:], after, atol=1e-5)
    assert torch.allclose(kept, both, atol=1e-5)


# -- words -----------------------------------------------------------------------------------------------------


def test_the_own_words_are_read_as_the_library_reads_them(tmp_path):
    from tokenizers import Tokenizer

    write_words(tmp_path / "tokenizer.json")
    ours, theirs = read_vocabulary(tmp_path / "tokenizer.json"), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len(ours.vocabulary) <= 1024
    task = Task((312.4, -7.0), "in-plane-moving", 0.6, "left", Spacing(0.2, 0.2))
    odd = "insert ins\n\nnaïve  [STOP]<|bin_007|> 1.5%"
    for text in (SAMPLE, instruction(task), "", odd, "".join(ACTION_WORDS)):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    assert "(0312, 0000)" in instruction(task)
    assert "in-plane-moving" in instruction(task)


def test_every_instruction_has_as_many_tokens(tiny):
    _, language = tiny()
    for target in ((0.0, 0.0), (1e6, -4.0), (12.0, 345.6)):
        for technique in ("in-plane-static", "in-plane-moving"):
            task = Task(target, technique, 0.6, "left", Spacing(0.2, 0.2))
            assert len(language.encode(instruction(task))) == len(language.encode(SAMPLE))


def test_what_is_no_vocabulary_of_ours_is_one_line(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_vocabulary(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}, "pre_tokenizer": {"pattern": {"Regex": "."}}}')
    with pytest.raises(InputError, match="no vocabulary that sonosteer made"):
        read_vocabulary(tmp_path / "tokenizer.json")


# -- the policy ------------------------------------------------------------------------------------------------


def test_shapes(tiny):
    net, language = tiny()
    ids, features, numbers, places, text = some(language)
    image, register = net.aligned(features)
    assert image.shape == (4, 9, 64)
    assert register.shape == (4, 1, 64)
    raw = net(ids, features, numbers, places, text)
    assert raw["bins"].shape == (4, 3, BINS)
    assert raw["stop"].shape == (4,)
    said = net.act(net.prefix(ids), features, numbers)
    assert said.places.shape == (4, 3)
    assert bool(((said.places > 0) & (said.places < 1)).all())


def test_a_kept_instruction_answers_as_the_whole_sequence_does(tiny):
    net, language = tiny()
    ids, features, numbers, *_ = some(language)
    with torch.no_grad():
        kept = net.prefix(ids)
        before = net.suffix(features, numbers)
        x = torch.cat([net.llm.embed_tokens(ids), before, net._slots(tokens.SLOTS, before)], 1)
        whole = net._read(net._run(x, 0)[0][:, -tokens.SLOTS :])
        said = net.act(kept, features, numbers)
    assert torch.allclose(tokens.read_out(whole["bins"]), said.places, atol=1e-5)
    assert torch.allclose(whole["stop"].sigmoid(), said.stop, atol=1e-5)


def test_a_batch_is_each_of_its_moments(tiny):
    net, language = tiny()
    ids, features, numbers, places, text = some(language)
    with torch.no_grad():
        together = net(ids, features, numbers, places, text)["bins"]
        for k in range(4):
            each = slice(k, k + 1)
            alone = net(ids[each], features[each], numbers[each], places[each], text[each])["bins"]
            assert torch.allclose(together[k], alone[0], atol=1e-5)


def test_a_picture_and_its_register_a_number_and_the_instruction_are_all_read(tiny):
    net, language = tiny()
    ids, features, numbers, *_ = some(language, 1)
    with torch.no_grad():
        base = net.act(net.prefix(ids), features, numbers).places
        for place in (0, 35, 39):  # first and last patch, register
            other = features.clone()
            other[0, place] += 3.0
            assert (net.act(net.prefix(ids), other, numbers).places - base).abs().max() > 1e-7
        for k in range(len(INPUT_RANGES)):
            other = numbers.clone()
            other[0, k] = (other[0, k] + 0.4) % 1.0
            assert (net.act(net.prefix(ids), features, other).places - base).abs().max() > 1e-7
        ids = ids.clone()
        ids[0, 12] += 1
        assert (net.act(net.prefix(ids), features, numbers).places - base).abs().max() > 1e-8


def test_in_turn_and_in_words_say_what_the_teacher_forced_pass_would(tiny):
    for how in ("ar", "text"):
        net, language = tiny(how)
        ids, features, numbers, *_ = some(language)
        with torch.no_grad():
            if how == "ar":
                said = net.act(net.prefix(ids), features, numbers)
                raw = net(ids, features, numbers, said.places, torch.zeros(4, tokens.MAX_TEXT, dtype=torch.long))
                assert torch.allclose(tokens.read_out(raw["bins"]), said.places, atol=1e-5)
                assert torch.allclose(raw["stop"].sigmoid(), said.stop, atol=1e-5)
                continue
            said = net.act(net.prefix(ids), features, numbers)
            raw = net(ids, features, numbers, torch.zeros(4, 3), torch.zeros(4, tokens.MAX_TEXT, dtype=torch.long))
            assert torch.allclose(raw["text"][:, 0].softmax(-1)[:, tokens.STOP_CLASS], said.stop, atol=1e-5)


def test_three_ways_to_say_it_agree_once_they_know_it(tiny):
    """Eight moments learnt by heart: all three decodings then say the expert's actions, and so each other's."""

    def say(n):
        return torch.stack([0.0 * n[:, 0] + 0.5, 0.2 + 0.6 * (n[:, 4] > 0.5), 0.3 + 0.4 * (n[:, 12] > 0.5)], 1)

    stop = torch.tensor([0.0] * 7 + [1.0])
    said = {}
    for how, steps in (("parallel", 80), ("ar", 100), ("text", 80)):
        net, language = tiny(how)
        ids, features, numbers, places, text = some(language, 8, say=say)
        text[-1] = -1
        text[-1, :2] = torch.tensor(tokens.as_text((0.0, 0.0, 0.0), stop=True))
        optimizer = torch.optim.AdamW(net.groups(3e-3, 0.0))
        net.train()
        for _ in range(steps):
            loss, _ = net.loss(net(ids, features, numbers, places, text), places, stop, text, 1.0)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        net.eval()
        with torch.no_grad():
            said[how] = net.act(net.prefix(ids), features, numbers)
        assert torch.equal(said[how].stop > 0.5, stop > 0.5), how
        assert (said[how].places - places)[:-1].abs().mean() < 0.02, how
    for how in ("ar", "text"):
        assert (said[how].places - said["parallel"].places)[:-1].abs().mean() < 0.03


def test_what_is_saved_is_what_is_loaded(tiny, tmp_path):
    net, language = tiny()
    save_policy(net, language, tmp_path, {"stage": "policy"})
    again, words, about = load_policy(tmp_path)
    assert about["stage"] == "policy"
    assert again.config == net.config
    ids, features, numbers, *_ = some(language)
    assert words.encode(SAMPLE) == language.encode(SAMPLE)
    with torch.no_grad():
        a, b = (n.act(n.prefix(ids), features, numbers) for n in (net, again))
    assert torch.equal(a.places, b.places)
    save_policy(net, language, tmp_path, {}, half=True)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.3e6
    with torch.no_grad():
        half = load_policy(tmp_path)[0]
        c = half.act(half.prefix(ids), features, numbers)
    assert (a.places - c.places).abs().max() < 1e-2


def test_a_published_checkpoint_is_taken_as_it_is_with_its_tokenizer_and_its_free_rows(tmp_path):
    """A small model in the library's own format, with a tokenizer beside it: weights stay, free rows become actions."""
    folder = small_checkpoint(tmp_path / "qwen", rows=1024)
    torch.manual_seed(0)
    seen = TrackerTokens((4, 4), 4, 16)
    base = dataclasses.replace(POLICY_PRESETS["qwen3b"], features=seen, checkpoint=str(folder))
    net, language = fresh_policy(base)
    from transformers import Qwen2_5_VLForConditionalGeneration

    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    theirs = whole.model.language_model.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in net.llm.state_dict().items())
    assert torch.equal(net.aligner.mlp[0].weight, whole.model.visual.merger.mlp[0].weight)
    first = net.config.first_row
    assert torch.equal(net.actions.weight, theirs["embed_tokens.weight"][first : first + tokens.TOKEN_ROWS])
    assert net.config.turn
    assert net.config.text_tokens == len(language.encode(SAMPLE))
    save_policy(net, language, tmp_path / "saved", {})
    again = TorchPolicyNetwork(*load_policy(tmp_path / "saved")[:2])
    features, numbers = np.ones(seen.shape, np.float32), np.full(len(INPUT_RANGES), 0.3, np.float32)
    here = TorchPolicyNetwork(net, language)
    replies = [n.act(n.begin(SAMPLE), features, numbers) for n in (here, again)]
    assert replies[0].places == pytest.approx(replies[1].places, abs=1e-6)
    half = TorchPolicyNetwork(net.bfloat16(), language)
    assert half.act(half.begin(SAMPLE), features, numbers).places == pytest.approx(replies[0].places, abs=0.05)


def test_too_few_free_rows_are_said(tmp_path):
    folder = small_checkpoint(tmp_path / "qwen", rows=400)
    with pytest.raises(InputError, match="rows of the embedding are free, but actions need 262"):
        checkpoint_language(str(folder), 400)
    with pytest.raises(InputError, match="cannot be loaded"):
        fresh_policy(dataclasses.replace(POLICY_PRESETS["qwen3b"], checkpoint=str(tmp_path / "nowhere")))


def small_checkpoint(folder, rows):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({c: k for k, c in enumerate(letters)}, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
    raw.add_special_tokens([AddedToken(s, normalized=False) for s in special])
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1, "out_hidden_size": 64}
    vision |= {"fullatt_block_indexes": [0], "spatial_merge_size": 2}
    shape = LanguageModel(64, 2, 2, 1, 96, vocabulary=rows, sections=(4, 6, 6))
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=shape.library_config().to_dict(), tie_word_embeddings=True
    )
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(folder)
    return folder


def test_the_sizes_are_what_they_are_said_to_be():
    edge, language = fresh_policy(dataclasses.replace(POLICY_EDGE, features=TrackerTokens((10, 10), 8, 192)))
    assert sum(p.numel() for p in edge.parameters()) * 2 < 8e6  # bytes in 16 bit: beside the tracker's 7 MB
    assert len(language.encode(SAMPLE)) == 59
    with torch.device("meta"):
        three = PolicyNet(dataclasses.replace(POLICY_PRESETS["qwen3b"], features=TrackerTokens((32, 32), 384, 1280)))
    layers = sum(p.numel() for p in three.llm.layers.parameters())
    assert abs(layers / 1e6 - 2774.8) < 0.1  # of Qwen2.5-VL-3B's language model
    assert three.config.features.merged_register == (8, 12)
    with pytest.raises(InputError, match="there is no preset"):
        policy_preset("huge")
    with pytest.raises(InputError, match="decode is 'spoken'"):
        dataclasses.replace(POLICY_TINY, decode="spoken")
