// Binds the deformable attention of mmcv alone: its parts of mmcv's pybind.cpp and cudabind.cpp, which name all 80 ops.
#include <torch/extension.h>

#include "pytorch_cpp_helper.hpp"
#include "pytorch_device_registry.hpp"

std::string get_compiler_version();
std::string get_compiling_cuda_version();

Tensor ms_deform_attn_forward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                              const Tensor &sampling_loc, const Tensor &attn_weight, const int im2col_step);
void ms_deform_attn_backward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                             const Tensor &sampling_loc, const Tensor &attn_weight, const Tensor &grad_output,
                             Tensor &grad_value, Tensor &grad_sampling_loc, Tensor &grad_attn_weight,
                             const int im2col_step);

Tensor ms_deform_attn_impl_forward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                                   const Tensor &sampling_loc, const Tensor &attn_weight, const int im2col_step);
void ms_deform_attn_impl_backward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                                  const Tensor &sampling_loc, const Tensor &attn_weight, const Tensor &grad_output,
                                  Tensor &grad_value, Tensor &grad_sampling_loc, Tensor &grad_attn_weight,
                                  const int im2col_step);

Tensor ms_deform_attn_cuda_forward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                                   const Tensor &sampling_loc, const Tensor &attn_weight, const int im2col_step);
void ms_deform_attn_cuda_backward(const Tensor &value, const Tensor &spatial_shapes, const Tensor &level_start_index,
                                  const Tensor &sampling_loc, const Tensor &attn_weight, const Tensor &grad_output,
                                  Tensor &grad_value, Tensor &grad_sampling_loc, Tensor &grad_attn_weight,
                                  const int im2col_step);

REGISTER_DEVICE_IMPL(ms_deform_attn_impl_forward, CUDA, ms_deform_attn_cuda_forward);
REGISTER_DEVICE_IMPL(ms_deform_attn_impl_backward, CUDA, ms_deform_attn_cuda_backward);

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("get_compiler_version", &get_compiler_version);
  m.def("get_compiling_cuda_version", &get_compiling_cuda_version);
  m.def("ms_deform_attn_forward", &ms_deform_attn_forward, py::arg("value"), py::arg("value_spatial_shapes"),
        py::arg("value_level_start_index"), py::arg("sampling_locations"), py::arg("attention_weights"),
        py::arg("im2col_step"));
  m.def("ms_deform_attn_backward", &ms_deform_attn_backward, py::arg("value"), py::arg("value_spatial_shapes"),
        py::arg("value_level_start_index"), py::arg("sampling_locations"), py::arg("attention_weights"),
        py::arg("grad_output"), py::arg("grad_value"), py::arg("grad_sampling_loc"), py::arg("grad_attn_weight"),
        py::arg("im2col_step"));
}
