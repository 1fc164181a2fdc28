"""Names of table folders ("versions" in nuScenes' terms) that several packages share."""

SYNTHETIC_VERSION = "v1.0-synth"  # written by kd_synthetic, read by kd_bench; the YAML of shipped recipes names it, too
KITTI_VERSION = "v1.0-kitti"  # written by `kd import kitti`
BAG_VERSION = "v1.0-bag"  # written by `kd import bag`
AV2_VERSION = "v1.0-av2"  # written by `kd import av2`
T4_VERSION = "v1.0-t4"  # written by `kd import t4`
