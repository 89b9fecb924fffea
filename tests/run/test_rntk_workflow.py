"""A study of the recurrent NTK from its file to its table: files, ranks, restarts, what is made again."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import xarray
from runs import digests, run, write_rntk

from rnnlimits.files import store
from rnnlimits.results.inspection import validate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study was run by the workflow."""
    folder = tmp_path_factory.mktemp("rntk")
    done = run("run", write_rntk(folder), "--cores", 2, cwd=folder)
    assert "ntk_step_gap in steps (limit)" in done.stdout
    return folder


@pytest.mark.workflow
@pytest.mark.needs_mpi
class TestFinished:
    def test_everything_is_there_and_valid(self, finished: Path) -> None:
        results = finished / "results" / "tiny-rntk"
        names = {path.name for path in results.iterdir()}
        assert {
            "kernels.h5",
            "rates.h5",
            "rates.csv",
            "report.html",
            "weights.csv",
            "figures",
            "kernel",
            "descent",
            "logs",
        } <= names
        assert {"ntk_fluctuation.svg", "weights.png"} <= {path.name for path in (results / "figures").iterdir()}
        assert validate(results) == []
        assert "is missing" not in run("validate", results).stdout

    def test_the_report_shows_all_of_it(self, finished: Path) -> None:
        text = (finished / "results" / "tiny-rntk" / "report.html").read_text()
        for figure in ("ntk_fluctuation", "ntk_step_gap", "weights"):
            assert f'id="plot-{figure}-1"' in text
        for file in ("kernel/n00008/erf-L1.h5", "descent/n00016/erf-L2.h5", "kernels.h5"):
            assert f'href="{file}"' in text
            assert (finished / "results" / "tiny-rntk" / file).exists()
        assert "core-hours);" in text

    def test_xarray_reads_the_ensembles(self, finished: Path) -> None:
        results = finished / "results" / "tiny-rntk"
        with (
            xarray.open_dataset(results / "kernel" / "n00008" / "erf-L1.h5", engine="h5netcdf") as cell,
            xarray.open_dataset(results / "kernels.h5", engine="h5netcdf") as limit,
        ):
            assert {name: size for name, size in cell.sizes.items() if name != "shard"} == {"replica": 50, "pair": 6}
            assert cell.shard.values[0] == 0
            assert list(limit.network.values) == ["erf-L1", "erf-L2"]
            assert limit.ntk.shape == (2, 3, 3)

    def test_ranks_change_no_bit(self, finished: Path, tmp_path: Path) -> None:
        path = write_rntk(tmp_path)
        run("train", path, "--results", tmp_path / "one", ranks=1)
        results = finished / "results" / "tiny-rntk"
        for part in ("kernel", "descent"):
            assert digests(tmp_path / "one" / "tiny-rntk", part) == digests(results, part)

    def test_a_lost_shard_is_made_again_with_the_same_bits(self, finished: Path, tmp_path: Path) -> None:
        path, results = write_rntk(tmp_path), tmp_path / "results"
        run("train", path, "--pack", "kernel-n00008", "--results", results)
        before = digests(results / "tiny-rntk", "kernel")
        shards = sorted((results / "tiny-rntk" / "shards").rglob("*.h5"))
        kept = {shard: shard.stat().st_mtime_ns for shard in shards[1:]}
        shards[0].unlink()
        run("train", path, "--pack", "kernel-n00008", "--results", results, ranks=2)
        assert digests(results / "tiny-rntk", "kernel") == before
        assert {shard: shard.stat().st_mtime_ns for shard in kept} == kept

    def test_a_second_run_has_nothing_to_do(self, finished: Path) -> None:
        rates = finished / "results" / "tiny-rntk" / "rates.csv"
        before = rates.stat().st_mtime_ns
        run("run", finished / "tiny-rntk.yaml", "--cores", 2, cwd=finished)
        assert rates.stat().st_mtime_ns == before

    def test_the_estimates_are_those_of_the_files(self, finished: Path) -> None:
        """The scatter at one width, from ensemble and limit alone."""
        results = finished / "results" / "tiny-rntk"
        with (
            store.open_complete(results / "kernel" / "n00016" / "erf-L2.h5", "kernel-ensemble") as cell,
            store.open_complete(results / "kernels.h5", "rntk-limit") as limit,
            store.open_complete(results / "rates.h5", "rates") as rates,
        ):
            own = np.diag(limit["ntk"][1])
            size = np.sqrt(own[cell["first_sequence"][()]] * own[cell["second_sequence"][()]])
            expected = math.sqrt((cell["ntk"][()] / size).var(axis=0, ddof=1).mean())
            rows = zip(rates["quantity"].values(), rates["at"].values(), strict=True)
            index = list(rows).index(("ntk_fluctuation", "phi=erf L=2"))
            mine = (rates["point_rate"][()] == index) & (rates["point_variable"][()] == 16)
            assert rates["point_estimate"][mine] == pytest.approx(expected, rel=1e-10)

    def test_weights_of_steps_are_a_table(self, finished: Path) -> None:
        with (finished / "results" / "tiny-rntk" / "weights.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2 * 2 * 2 * 8  # networks, kernels, sigma_w, steps
        assert max(float(row["weight"]) for row in rows) == 1
