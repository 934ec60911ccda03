"""The same seed on the same machine gives the same bits: a candidate alone, in this process and on two workers."""

from pathlib import Path

import pytest

from archsearch.campaign import record, run
from archsearch.campaign.config import CampaignConfig, Finals
from archsearch.campaign.record import CampaignRecord
from archsearch.training import trainer
from archsearch.training.measurement import CopyResult, Job, TrainingSettings

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]

TASK = {"length": 16, "vocabulary": 8, "examples_train": 256, "examples_validation": 64, "examples_test": 64}
TRAINING = TrainingSettings(
    steps=16, batch=8, reports=2, seeds=2, learning_rates=(1e-3, 1e-2), device="cpu", stop_when_solved=False
)


def campaign(folder: Path, executor: str, training: TrainingSettings = TRAINING) -> CampaignRecord:
    config = CampaignConfig(
        space="quickstart", task="in_context_recall", task_settings=TASK, trials=3, seed=3, executor=executor,
        workers=2 if executor == "ray" else 1, ahead=4, finals=Finals(top=1, seeds=2), training=training,
        name=executor, gpus_per_trial=0.0, controls=("frozen", "unigram"),
    )  # fmt: skip
    return run.run(config, folder, progress=False)


def copies(found: CampaignRecord) -> dict[str, tuple[CopyResult, ...]]:
    measured = {(c.id, m.fidelity.split): m.copies for c in found.candidates for m in (c.search, c.final) if m}
    return {"/".join(key): value for key, value in measured.items()}


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> CampaignRecord:
    return campaign(tmp_path_factory.mktemp("deterministic"), "inline")


def test_a_candidate_of_a_campaign_scores_as_it_does_alone(inline: CampaignRecord) -> None:
    assert {"1/validation", "frozen/test", "unigram/validation"} < set(copies(inline))
    for c in inline.candidates[-3:]:
        job = Job(
            "alone/search/1", record.architecture(inline.path, c.id).to_dict(), "in_context_recall", TASK, TRAINING
        )
        job = Job(**{**vars(job), "seed_base": CampaignConfig.from_dict(inline.config).search_seed})
        assert c.search is not None
        assert trainer.run(job).copies == c.search.copies


@pytest.mark.slow
def test_two_workers_give_the_bits_of_one(inline: CampaignRecord, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert copies(campaign(tmp_path, "ray")) == copies(inline)
