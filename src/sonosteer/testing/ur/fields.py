"""Names and types of RTDE's fields, as Universal Robots publishes them."""

from __future__ import annotations

import re

_OUTPUTS = {
    "DOUBLE": "timestamp actual_execution_time speed_scaling target_speed_fraction actual_momentum actual_main_voltage "
    "actual_robot_voltage actual_robot_current standard_analog_input0 standard_analog_input1 standard_analog_output0 "
    "standard_analog_output1 io_current tool_analog_input0 tool_analog_input1 tool_output_current tool_temperature "
    "tcp_force_scalar payload joint_position_deviation_ratio collision_detection_ratio euromap67_24V_voltage "
    "euromap67_24V_current",
    "VECTOR6D": "target_q target_qd target_qdd target_current target_moment actual_q actual_qd actual_current "
    "actual_current_window joint_control_output actual_TCP_pose actual_TCP_speed actual_TCP_force target_TCP_pose "
    "target_TCP_speed joint_temperatures actual_joint_voltage payload_inertia ft_raw_wrench",
    "VECTOR3D": "actual_tool_accelerometer elbow_position elbow_velocity payload_cog",
    "VECTOR6INT32": "joint_mode",
    "INT32": "robot_mode safety_mode safety_status tool_output_voltage time_scale_source",
    "UINT32": "runtime_state robot_status_bits safety_status_bits analog_io_types tool_mode tool_analog_input_types "
    "euromap67_input_bits euromap67_output_bits script_control_line output_bit_registers0_to_31 "
    "output_bit_registers32_to_63 input_bit_registers0_to_31 input_bit_registers32_to_63",
    "UINT64": "actual_digital_input_bits actual_digital_output_bits",
    "UINT8": "tool_output_mode tool_digital_output0_mode tool_digital_output1_mode",
}
_INPUTS = {
    "UINT32": "speed_slider_mask input_bit_registers0_to_31 input_bit_registers32_to_63",
    "DOUBLE": "speed_slider_fraction standard_analog_output_0 standard_analog_output_1",
    "UINT8": "standard_digital_output_mask standard_digital_output configurable_digital_output_mask "
    "configurable_digital_output tool_digital_output_mask tool_digital_output standard_analog_output_mask "
    "standard_analog_output_type",
    "VECTOR6D": "external_force_torque",
}
_REGISTER = re.compile(r"(input|output)_(bit|int|double)_register_(\d+)")
_REGISTERS = {"bit": ("BOOL", 128), "int": ("INT32", 48), "double": ("DOUBLE", 48)}
FIRST_FREE = 24  # registers of clients begin there, those before are the fieldbus's

OUTPUT_TYPES = {name: kind for kind, names in _OUTPUTS.items() for name in names.split()}
INPUT_TYPES = {name: kind for kind, names in _INPUTS.items() for name in names.split()}


def type_of(name: str, *, written: bool) -> str:
    """Type of a field that is read, or written. NOT_FOUND if there is none."""
    found = _REGISTER.fullmatch(name)
    if found is None:
        return (INPUT_TYPES if written else OUTPUT_TYPES).get(name, "NOT_FOUND")
    way, of, number = found[1], found[2], int(found[3])
    kind, count = _REGISTERS[of]
    first = 64 if of == "bit" else FIRST_FREE
    if number >= count or (written and (way == "output" or number < first)):
        return "NOT_FOUND"
    return kind
