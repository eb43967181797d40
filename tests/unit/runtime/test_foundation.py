from tallystick.runtime.foundation import connections_needed
from tallystick.settings import DatabaseSettings, Settings


def test_room_is_made_for_all_that_the_pools_may_hold() -> None:
    few = DatabaseSettings(writer_connections=2, reader_connections=3, control_connections=1)
    assert connections_needed(Settings(database=few), 2) == 2 * (2 + 3 + 1 + 8) + 10, "a worker has eight at least"
    many = DatabaseSettings(writer_connections=2, reader_connections=3, control_connections=20)
    assert connections_needed(Settings(database=many), 1) == 2 + 3 + 20 + 20 + 10
