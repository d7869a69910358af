"""Point sampling of masks, uniform or by uncertainty (PointRend, CVPR 2020; Mask2Former, CVPR 2022)."""
import torch
import torch.nn.functional as F
from torch import Tensor


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of maps; values outside of a map count as 0.

    Args:
        maps: (n, C, h, w) float.
        points: (n, ..., 2), (x, y) in [0, 1] from the upper left to the lower right corner of the map.

    Returns:
        (n, C, ...) values.
    """
    grid = (2 * points).sub_(1).flatten(1, -2).unsqueeze(1)
    samples = F.grid_sample(maps, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return samples.view(*maps.shape[:2], *points.shape[1:-1])


@torch.no_grad()
def uncertain_points(logits: Tensor, num_points: int, oversample: float, importance: float) -> Tensor:
    """Sample the points of each map where the prediction is most uncertain, and uniform points.

    Args:
        logits: (n, h, w) mask logits.
        num_points: P, points for each map.
        oversample: ``oversample * P`` uniform candidates are sampled; those with the smallest absolute logit are kept.
        importance: Fraction of the P points that is chosen by uncertainty; the others are uniform.

    Returns:
        (n, P, 2) points in [0, 1].
    """
    num_uncertain = int(importance * num_points)
    candidates = torch.rand(len(logits), int(oversample * num_points), 2, device=logits.device)
    certainty = sample_points(logits.unsqueeze(1), candidates).squeeze(1).abs_()
    chosen = certainty.topk(num_uncertain, largest=False, sorted=False).indices
    uniform = torch.rand(len(logits), num_points - num_uncertain, 2, device=logits.device)
    return torch.cat([candidates.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 2)), uniform], 1)


def chunk_size(device: torch.device) -> int:
    """Number of sampled values to hold at once: 8 MB for each CPU thread, near its cache size, or 256 MB on a GPU."""
    return 2**21 * torch.get_num_threads() if device.type == 'cpu' else 2**26
