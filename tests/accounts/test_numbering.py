"""Numbers come from counter rows: none twice, none left out, none lost by a rollback (I10)."""

import pytest
from django.db import connection, transaction

from accounts.models import NumberPurpose, NumberSequence
from accounts.numbering import take_numbers
from tests.invoicing.facts import in_threads

pytestmark = pytest.mark.django_db


def test_numbers_follow_each_other():
    assert take_numbers(NumberPurpose.ORDER) == ["O-00000001"]
    assert take_numbers(NumberPurpose.ORDER, 3) == ["O-00000002", "O-00000003", "O-00000004"]


def test_each_purpose_counts_by_itself():
    take_numbers(NumberPurpose.ORDER, 5)
    assert take_numbers(NumberPurpose.CHARGE) == ["C-00000001"]


def test_numbers_grow_beyond_their_digits():
    NumberSequence.objects.filter(purpose="Order").update(digits=2, next_number=99)
    assert take_numbers(NumberPurpose.ORDER, 3) == ["O-99", "O-100", "O-101"]


def test_the_next_number_is_shown_as_it_will_be_given():
    sequence = NumberSequence.objects.get(purpose="Order")
    assert sequence.format(sequence.next_number) == take_numbers(NumberPurpose.ORDER)[0]


def test_a_rollback_gives_numbers_back():
    with transaction.atomic():
        take_numbers(NumberPurpose.ORDER, 10)
        transaction.set_rollback(True)
    assert take_numbers(NumberPurpose.ORDER) == ["O-00000001"]


def test_a_purpose_without_sequence_says_where_to_add_one():
    NumberSequence.objects.filter(purpose="Order").delete()
    with pytest.raises(LookupError, match="Administration › Number sequences"):
        take_numbers(NumberPurpose.ORDER)


def test_of_two_sequences_for_a_purpose_the_first_is_the_default():
    NumberSequence.objects.create(name="Second", purpose="Order", prefix="X-")
    assert take_numbers(NumberPurpose.ORDER) == ["O-00000001"]


@pytest.mark.django_db(transaction=True)
def test_eight_takers_leave_no_gap_though_some_roll_back():
    def take(number: int) -> list[str]:
        kept = []
        for turn in range(10):
            with transaction.atomic():
                taken = take_numbers(NumberPurpose.ORDER)
                if (number + turn) % 4 == 0:
                    transaction.set_rollback(True)
                else:
                    kept += taken
        return kept

    kept = [number for numbers in in_threads(8, take) for number in numbers]
    assert sorted(kept) == [f"O-{value:08d}" for value in range(1, len(kept) + 1)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT next_number FROM accounts_numbersequence WHERE purpose = 'Order'")
        assert cursor.fetchone() == (len(kept) + 1,)
