// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.5.17;

// A token with the habits of USDT that matter to a scanner: transfer and transferFrom return nothing, a fee switch
// makes two Transfer logs of one transfer (the fee first), a zero-value transferFrom by anybody is accepted.
contract TetherLike {
    string public constant symbol = "USDT";
    string public constant name = "Tether-like test token";
    uint8 public constant decimals = 6;
    address public owner;
    uint256 public feeBasisPoints;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    constructor() public {
        owner = msg.sender;
    }

    // Like USDT's issue(): tokens appear without a Transfer log.
    function mint(uint256 value) external {
        require(msg.sender == owner, "only the owner");
        balanceOf[owner] += value;
    }

    function setFee(uint256 basisPoints) external {
        require(msg.sender == owner && basisPoints < 20, "only the owner, below 20");
        feeBasisPoints = basisPoints;
    }

    function transfer(address to, uint256 value) external {
        move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        require(allowance[from][msg.sender] >= value, "allowance");
        allowance[from][msg.sender] -= value;
        move(from, to, value);
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
    }

    function move(address from, address to, uint256 value) private {
        require(balanceOf[from] >= value, "balance");
        uint256 fee = value * feeBasisPoints / 10000;
        balanceOf[from] -= value;
        if (fee > 0) {
            balanceOf[owner] += fee;
            emit Transfer(from, owner, fee);
        }
        balanceOf[to] += value - fee;
        emit Transfer(from, to, value - fee);
    }
}

// Pays one recipient twice in one transaction, with a log of its own between the two transfers.
contract Batch {
    event Between(uint256 number);

    function payTwice(TetherLike token, address to, uint256 first, uint256 second) external {
        token.transfer(to, first);
        emit Between(first);
        token.transfer(to, second);
    }
}
