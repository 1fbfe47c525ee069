"""Which tests judge the mutants of which file: quick ones that know the file best."""

_TOKENIZER = "tests/tokenizer"
_KERNELS = f"{_TOKENIZER}/kernels"
_FORMATS = f"{_TOKENIZER}/formats -k not(transformers)"
_LOADING = f"{_TOKENIZER}/formats/test_loading.py"
_ENCODING = f"{_TOKENIZER}/encoding/test_tokenizer.py {_TOKENIZER}/encoding/test_decode.py"
_SHARDS = f"{_TOKENIZER}/encoding/test_file_encoder.py"
_CUTS = (
    f"{_TOKENIZER}/text/test_cuts.py {_TOKENIZER}/text/test_ranges.py "
    f"{_TOKENIZER}/text/test_windows.py {_TOKENIZER}/test_routes.py"
)
_COUNTS = " ".join(
    f"{_TOKENIZER}/training/{name}.py"
    for name in ("test_count", "test_count_tables", "test_counts")
)
_MERGES = f"{_TOKENIZER}/training/test_train.py"
_LONG = f"{_KERNELS}/encoding/test_ranked_merges.py {_TOKENIZER}/encoding/test_fast.py"
_TABLES = f"{_TOKENIZER}/encoding/test_merge_tables.py {_LONG}"
_STARTS = f"{_KERNELS}/classify/test_boundaries.py"
_STORE = " ".join(
    f"tests/artifacts/{name}.py"
    for name in (
        "lease/test_lease",
        "building/test_staging",
        "building/test_handover",
        "building/test_publishing",
    )
)
_ORDERS = f"{_STORE} tests/artifacts/test_interleavings.py"
_OPTIM = "tests/lm/optim"
_CHECKPOINT = "tests/lm/checkpoint"
_STEP = "tests/lm/training/step"

JUDGES = {
    "tokenizer/text/cuts.py": _CUTS,
    "tokenizer/text/ranges.py": _CUTS,
    "tokenizer/text/windows.py": _CUTS,
    "tokenizer/text/stream.py": _ENCODING,
    "tokenizer/text/documents.py": f"{_TOKENIZER}/text/test_documents.py",
    "tokenizer/text/corpus_statistics.py": f"{_TOKENIZER}/text/test_documents.py",
    "tokenizer/text/document_sample.py": f"{_TOKENIZER}/text/test_document_sample.py",
    "tokenizer/text/held_out.py": f"{_TOKENIZER}/text/test_held_out.py",
    "tokenizer/special_tokens.py": f"{_TOKENIZER}/test_special_tokens.py {_ENCODING}",
    "tokenizer/patterns.py": f"{_TOKENIZER}/test_patterns.py {_TOKENIZER}/training/test_count.py",
    "tokenizer/pretokenize.py": f"{_TOKENIZER}/test_pretokenize.py {_TOKENIZER}/test_patterns.py",
    "tokenizer/reference.py": f"{_TOKENIZER}/test_reference.py {_MERGES}",
    "tokenizer/config.py": f"{_TOKENIZER}/test_config.py {_MERGES}",
    "tokenizer/compare.py": f"{_TOKENIZER}/test_compare.py",
    "tokenizer/unicode_answers.py": f"{_TOKENIZER}/test_unicode_answers.py",
    "tokenizer/compile_kernels.py": f"{_TOKENIZER}/test_compile_kernels.py",
    "tokenizer/training/count.py": f"{_COUNTS} {_TOKENIZER}/test_routes.py",
    "tokenizer/training/count_tables.py": _COUNTS,
    "tokenizer/training/counts.py": _COUNTS,
    "tokenizer/training/digests.py": f"{_TOKENIZER}/training/test_digests.py",
    "tokenizer/training/merge_checkpoint.py": _MERGES,
    "tokenizer/training/merge_setup.py": _MERGES,
    "tokenizer/training/train.py": _MERGES,
    "tokenizer/encoding/decode.py": _ENCODING,
    "tokenizer/encoding/encoder.py": _SHARDS,
    "tokenizer/encoding/general.py": f"{_ENCODING} {_SHARDS} {_TOKENIZER}/test_routes.py",
    "tokenizer/encoding/merge_tables.py": _TABLES,
    "tokenizer/encoding/merging.py": _ENCODING,
    "tokenizer/encoding/shard.py": _SHARDS,
    "tokenizer/encoding/tokenizer.py": f"{_ENCODING} {_SHARDS} {_TOKENIZER}/test_routes.py",
    "tokenizer/formats/byte_level.py": _FORMATS,
    "tokenizer/formats/foreign.py": _LOADING,
    "tokenizer/formats/gpt2.py": _FORMATS,
    "tokenizer/formats/loading.py": _LOADING,
    "tokenizer/formats/merge_ids.py": f"{_TOKENIZER}/formats/test_merge_ids.py {_FORMATS}",
    "tokenizer/formats/hugging_face.py": f"{_TOKENIZER}/formats",
    "tokenizer/formats/tiktoken.py": _FORMATS,
    "tokenizer/formats/vocabulary.py": f"{_TOKENIZER}/test_reference.py {_FORMATS}",
    "artifacts/fingerprint.py": "tests/artifacts/test_fingerprint.py",
    "artifacts/identity.py": "tests/artifacts/test_identity.py tests/artifacts/test_fingerprint.py",
    "artifacts/record.py": (
        f"tests/artifacts/test_record.py {_STORE} tests/artifacts/test_hostile_store.py"
    ),
    "artifacts/json_text.py": "tests/artifacts/test_json_text.py tests/artifacts/test_record.py",
    "artifacts/names.py": "tests/artifacts/test_names.py tests/artifacts/test_hostile_store.py",
    "artifacts/lease/builder_process.py": "tests/artifacts/lease/test_lease.py",
    "artifacts/lease/lease.py": _ORDERS,
    "artifacts/lease/lease_chain.py": _ORDERS,
    "artifacts/lease/waiting.py": _ORDERS,
    "artifacts/lease/decision.py": _ORDERS,
    "artifacts/building/handover.py": _ORDERS,
    "artifacts/building/publishing.py": f"{_ORDERS} tests/artifacts/published/test_checking.py",
    "artifacts/building/staging.py": _ORDERS,
    "lm/optim/adamw.py": f"{_OPTIM}/test_adamw.py",
    "lm/optim/clip.py": f"{_OPTIM}/test_clip.py",
    "lm/optim/device_update.py": f"{_OPTIM}/test_device_update.py",
    "lm/optim/muon.py": f"{_OPTIM}/test_muon.py",
    "lm/optim/parameter_groups.py": f"{_OPTIM}/test_parameter_groups.py",
    "lm/optim/schedule.py": f"{_OPTIM}/test_schedule.py",
    "lm/optim/stacked_muon.py": f"{_OPTIM}/test_device_update.py",
    "lm/optim/toy_sgd.py": f"{_OPTIM}/test_toy_sgd.py",
    "lm/data/permutation.py": "tests/lm/data/test_permutation.py",
    "lm/checkpoint/durable.py": _CHECKPOINT,
    "lm/checkpoint/folder.py": _CHECKPOINT,
    "lm/checkpoint/optimizer_state.py": _CHECKPOINT,
    "lm/checkpoint/weights.py": _CHECKPOINT,
    "lm/training/step/step.py": f"{_STEP}/test_step.py {_STEP}/test_spikes.py",
    "tokenizer/kernels/first_use.py": f"{_KERNELS}/test_first_use.py",
    "tokenizer/kernels/jit.py": f"{_KERNELS}/test_jit.py",
    "tokenizer/kernels/sources.py": f"{_KERNELS}/test_jit.py",
    "tokenizer/kernels/classify/classes.py": f"{_KERNELS}/classify/test_classes.py",
    "tokenizer/kernels/classify/class_ranges.py": f"{_KERNELS}/classify/test_classes.py",
    "tokenizer/kernels/pretoken_keys.py": f"{_KERNELS}/test_pretoken_keys.py {_COUNTS}",
    "tokenizer/kernels/counting/pretoken_order.py": (
        f"{_KERNELS}/counting/test_pretoken_order.py {_COUNTS}"
    ),
    "tokenizer/kernels/counting/count_table.py": _COUNTS,
    "tokenizer/kernels/encoding/listed_merges.py": f"{_KERNELS}/encoding/test_ranked_merges.py",
    "tokenizer/kernels/merging/pair_table.py": _MERGES,
    "tokenizer/kernels/merging/pair_heap.py": _MERGES,
    "tokenizer/kernels/merging/merge_state.py": _MERGES,
    "tokenizer/kernels/merging/merge_fill.py": _MERGES,
    "tokenizer/kernels/merging/merge_loop.py": _MERGES,
    "tokenizer/kernels/encoding/ranked_merges.py": _TABLES,
    "tokenizer/kernels/classify/wide_characters.py": _STARTS,
    "tokenizer/kernels/classify/boundaries.py": _STARTS,
    "tokenizer/kernels/intrinsics.py": f"{_KERNELS}/test_intrinsics.py {_STARTS}",
    "tokenizer/kernels/classify/wide_blocks.py": f"{_KERNELS}/classify/test_wide_blocks.py",
    "tokenizer/kernels/atomics.py": f"{_KERNELS}/test_atomics.py",
    "tokenizer/kernels/encoding/encode_table.py": _LONG,
    "tokenizer/kernels/encoding/encode_window.py": _LONG,
    "tokenizer/encoding/known_pretokens.py": (
        f"{_TOKENIZER}/encoding/test_known_pretokens.py {_TOKENIZER}/encoding/test_fast.py"
    ),
    "tokenizer/encoding/fast.py": f"{_TOKENIZER}/encoding/test_fast.py {_ENCODING}",
    "tokenizer/encoding/file_encoder.py": f"{_SHARDS} {_TOKENIZER}/test_routes.py",
}
"""pytest's arguments by source file, in the order of the campaign; the kernels take longest."""


def is_kernel(file: str) -> bool:
    """Tell whether a mutant of this file must be compiled."""
    return file.startswith("tokenizer/kernels/")
