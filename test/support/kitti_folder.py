"""Made frames in KITTI's folders: image_2, velodyne, calib and label_2."""

import cv2
import numpy as np

K = np.array([[700.0, 0.0, 600.0], [0.0, 700.0, 180.0], [0.0, 0.0, 1.0]])
BASELINE = 0.06  # of camera 2, to the left of camera 0
STRAIGHT = "0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27"  # velodyne's axes to a camera that looks along its x
CAR = "Car 0.10 1 -1.57 600.00 150.00 650.00 200.00 1.50 1.60 4.00 2.00 1.65 20.00 0.30"
IGNORED = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"
BLACK = np.zeros((370, 1224, 3), np.uint8)


def write_frame(folder, name="000007", labels=(CAR, IGNORED), picture=BLACK):
    """A made frame of one camera and a few points; `picture` is BGR."""
    for kind in ("image_2", "velodyne", "calib", "label_2"):
        (folder / "training" / kind).mkdir(parents=True, exist_ok=True)
    training = folder / "training"
    projection = np.column_stack([K, K @ [BASELINE, 0.0, 0.0]])
    lines = {
        "P2": " ".join(map(str, projection.ravel())),
        "R0_rect": "1 0 0 0 1 0 0 0 1",
        "Tr_velo_to_cam": STRAIGHT,
    }
    (training / "calib" / f"{name}.txt").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    (training / "label_2" / f"{name}.txt").write_text("\n".join(labels) + "\n")
    cv2.imwrite(str(training / "image_2" / f"{name}.png"), picture)
    cloud = np.array([[20.3, -2.0, -0.9, 0.5], [20.3, -2.0, 4.0, 0.5], [5.0, 5.0, -1.7, 1.0]], np.float32)
    cloud.tofile(training / "velodyne" / f"{name}.bin")
    return folder
