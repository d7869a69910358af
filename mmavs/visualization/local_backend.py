"""Backend of the visualizer for local files."""
import os

import numpy as np
from mmengine.config import Config
from mmengine.visualization import vis_backend

from mmavs.registry import VISBACKENDS
from mmavs.utils.files import errors_with_name
from mmavs.utils.image_files import write_image


@VISBACKENDS.register_module()
class LocalVisBackend(vis_backend.LocalVisBackend):
    """MMEngine's backend of the same name, for disks that may be full.

    Images appear under their name when they are complete, and errors name the file. In MMEngine's, an image that cannot
    be written is half a file, or none, without an error.
    """

    @vis_backend.force_init_env
    def add_config(self, config: Config, **kwargs) -> None:
        """Write the config to ``config.py``."""
        with errors_with_name(self._config_save_file):
            super().add_config(config, **kwargs)

    @vis_backend.force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Write an image, (H, W, 3) uint8 RGB, to ``vis_image/{name}_{step}.png``."""
        write_image(os.path.join(self._img_save_dir, f'{name}_{step}.png'), image)

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        with errors_with_name(file_path):
            super()._dump(value_dict, file_path, file_format)
