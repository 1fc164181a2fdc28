# The project's environment for a shell: `source scripts/env.sh` (bash, zsh or sh started at the project's root).
# `make`, `kd` and `.venv/bin/python` need none of it where ROS 2 comes from wheels; beside a sourced ROS 2 it is needed.
if [ -n "${BASH_SOURCE:-}" ]; then KD_ROOT="$(cd "$(dirname "${BASH_SOURCE}")/.." && pwd)"; else KD_ROOT="$PWD"; fi
VIRTUAL_ENV="$KD_ROOT/.venv"
PATH="$VIRTUAL_ENV/bin:$PATH"
AMENT_PREFIX_PATH="$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
CMAKE_PREFIX_PATH="$VIRTUAL_ENV${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
LD_LIBRARY_PATH="$VIRTUAL_ENV/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$KD_ROOT/config/fastdds.xml}"
export VIRTUAL_ENV PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH FASTDDS_DEFAULT_PROFILES_FILE
unset KD_ROOT _ROS_WHEELS_BOOTSTRAP_COMPLETE
