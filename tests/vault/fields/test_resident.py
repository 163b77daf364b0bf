from __future__ import annotations

import pytest

from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError


@pytest.mark.parametrize(
    "text",
    [
        "900101-1234567",
        "9001011234567",
        "900101 1234567",
        "900101 - 1234567",
        "000229-3234567",
        "19900101-1234567",
        "991231-0234567",
        "850505-9234567",
        "900101-5234567",
        "900101-1******",
        "900101\u2212\u0031234567",
        "٩٠٠١٠١-١٢٣٤٥٦٧",
        "900101-12\u200d34567",
        "주문 12345-1 그리고 900101-1234567번",
        "991301-1234567 900101-1234567",
        "a900101-1234567b",
    ],
)
def test_refuses_the_shape(text: str) -> None:
    with pytest.raises(RuleBrokenError, match="resident_number"):
        refuse_resident_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "010-1234-5678",
        "123-45-67891",
        "901301-1234567",
        "900001-1234567",
        "900230-1234567",
        "900431-1234567",
        "900100-1234567",
        "900132-1234567",
        "900101-123456",
        "900101-12345678",
        "1900101-1234567",
        "90010112345678",
        "4111111111111111",
        "199001011234567",
        "2024-01-01 1234567890",
        "4915112345678",
        "8613800138000",
        "123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_lets_other_numbers_pass(text: str) -> None:
    refuse_resident_number(text)
